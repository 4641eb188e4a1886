-- Purpose: what tells these books from all others.
-- Parameters: none.
-- Locks: none.
SELECT books_id FROM books_identity;
