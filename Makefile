# Every target does its own set-up on a fresh Debian machine with Rust, gcc and make.
.PHONY: demo hello test lint doc bench flink-diff fuzz

CARGO ?= cargo

# Counts a generated access log of a million lines, with checkpoints, and prints the ten busiest paths.
demo:
	$(CARGO) run --release --locked --example access_log -- --backend fs --incremental --checkpoint-every 200000 --parallelism 2

# The example of the README.
hello:
	$(CARGO) run --release --locked --example hello

test:
	$(CARGO) test --workspace --locked

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

bench:
	$(CARGO) bench --locked -p benches

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
