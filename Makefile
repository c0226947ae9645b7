# Every target does its own set-up on a fresh Debian machine with Rust, gcc and make.
.PHONY: demo hello test lint doc bench libclang

CARGO ?= cargo

# Counts a generated access log of a million lines, with checkpoints, and prints the ten busiest paths.
demo:
	$(CARGO) run --release --locked --example access_log -- --backend fs --incremental --checkpoint-every 200000 --parallelism 2

# The example of the README.
hello:
	$(CARGO) run --release --locked --example hello

test: libclang
	$(CARGO) test --workspace --features rocksdb,conformance-tests/rocksdb --locked

lint: libclang
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features rocksdb,conformance-tests/rocksdb --locked -- -D warnings

doc: libclang
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --features rocksdb --locked

# RocksDB's bindings are made from its headers by libclang.
libclang:
	@ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1 || ls /usr/lib/*/libclang*.so* >/dev/null 2>&1 || \
	{ apt-get update && apt-get install -y libclang-dev; } || { sudo apt-get update && sudo apt-get install -y libclang-dev; }

bench:
	$(CARGO) bench --locked -p benches
