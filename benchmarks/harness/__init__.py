"""What measuring needs, whatever is measured: processes, rounds, rows, tables, the wire."""
