package postgres

// MigrateTo is [Migrate] up to a version.
var MigrateTo = migrate
