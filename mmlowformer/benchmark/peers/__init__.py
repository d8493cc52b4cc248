"""Networks of other papers that no library has; for benchmarks only."""
