-- Purpose: splits and dividends that somebody has added by hand, or has said to be wrong, outlive the next reading of the
-- source.
-- Locks: corporate_actions, for a moment.

ALTER TABLE corporate_actions
    -- Its source states it; a row without this is somebody's own, and stays.
    ADD COLUMN is_stated boolean NOT NULL DEFAULT false,
    -- It counts for nothing, whatever the source states.
    ADD COLUMN is_ignored boolean NOT NULL DEFAULT false;

UPDATE corporate_actions SET is_stated = true;
