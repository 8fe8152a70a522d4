-- Conflicts are kept for a time, and go with the rows that were deleted long ago.
GRANT DELETE ON app.conflicts TO millrace_app;
CREATE POLICY purge ON app.conflicts FOR DELETE TO millrace_app USING (board = ANY (ARRAY(SELECT app.my_editable_boards())));
