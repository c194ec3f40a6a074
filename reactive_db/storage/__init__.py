"""Storage: journal, tables, columns. The only place that touches a disk or a database."""
