# Every target does its own set-up on a fresh Debian machine with Rust, gcc and make.
.PHONY: demo hello test lint doc bench flink-diff fuzz asan loom libclang

CARGO ?= cargo
# With RocksDB, which the plain builds leave out.
WORKSPACE = --workspace --locked --features state-backends/rocksdb,conformance-tests/rocksdb,benches/rocksdb

# Counts a generated access log of a million lines, with checkpoints, and prints the ten busiest paths.
demo:
	$(CARGO) run --release --locked --example access_log -- --backend fs --incremental --checkpoint-every 200000 --parallelism 2

# The example of the README.
hello:
	$(CARGO) run --release --locked --example hello

test: libclang
	$(CARGO) test $(WORKSPACE)

lint: libclang
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(WORKSPACE) --all-targets -- -D warnings

doc: libclang
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(WORKSPACE) --no-deps

bench:
	$(CARGO) bench --locked -p benches

# What the bindings of RocksDB are generated with.
libclang:
	@[ -n "$$LIBCLANG_PATH" ] || ls /usr/lib/llvm-*/lib/libclang*.so* 2>/dev/null | grep -v cpp | grep -q . || \
		{ sudo=$$(command -v sudo || true); $$sudo apt-get update && $$sudo apt-get install -y libclang-dev; }

# Random scripts on Apache Flink and on our backends, compared line by line (Java 17, Python 3 and 300 MB of Flink, which
# is downloaded unless FLINK_DIR has it).
SEEDS ?= 200
flink-diff:
	conformance-tests/flink/diff.sh $(SEEDS)

# Every decoder of bytes from outside, so many seconds each; needs cargo-fuzz, and no nightly compiler.
SECONDS ?= 60
FUZZ_TARGETS = metadata checkpoint_file rows keys codecs log_line
fuzz:
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target && \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir fuzz $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(SECONDS) -max_len=4096 || exit 1; \
	done

# The hand-over of snapshots between threads, in every order of theirs.
loom:
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked -p backend-memory --lib hand_over \
		--target-dir $${CARGO_TARGET_DIR:-target}/loom

# The crate with unsafe code under AddressSanitizer; no nightly compiler either.
asan:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address $(CARGO) test --locked -p backend-memory --lib \
		--target x86_64-unknown-linux-gnu --target-dir $${CARGO_TARGET_DIR:-target}/asan
