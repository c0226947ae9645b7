# Every target does its own set-up on a fresh Debian machine with Rust, gcc and make.
.PHONY: demo hello test lint doc bench flink-diff fuzz mutants asan loom tools rocksdb-tools

CARGO ?= cargo
# With RocksDB, which the plain builds leave out.
WORKSPACE = --workspace --locked --features state-backends/rocksdb,conformance-tests/rocksdb,benches/rocksdb,state-tool/rocksdb,state-backends/s3,storage-object/s3

# A job is killed, resumed with another number of subtasks, and compared with an undisturbed run.
demo: tools
	$(CARGO) build --release --locked --example access_log
	examples/demo.sh $${CARGO_TARGET_DIR:-target}/release/examples/access_log

# The example of the README.
hello: tools
	$(CARGO) run --release --locked --example hello

test: rocksdb-tools
	$(CARGO) test $(WORKSPACE)

lint: rocksdb-tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(WORKSPACE) --all-targets -- -D warnings

doc: rocksdb-tools
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(WORKSPACE) --no-deps

bench:
	$(CARGO) bench --locked -p benches

# What the C code of zstd is compiled with. Installed if missing.
tools:
	@.ci/install-tools c

# What RocksDB is compiled with. Installed if missing.
rocksdb-tools:
	@.ci/install-tools c c++ libclang

# Random scripts on Apache Flink and on our backends, compared line by line. Needs Java 17, Python 3 and 300 MB of Flink,
# which is downloaded unless FLINK_DIR has it.
SEEDS ?= 200
flink-diff:
	conformance-tests/flink/diff.sh $(SEEDS)

# Fuzzes every decoder of foreign bytes for SECONDS each. Needs cargo-fuzz, and no nightly compiler.
SECONDS ?= 60
FUZZ_TARGETS = metadata checkpoint_file rows keys codecs log_line flink_savepoint
# Descriptions of serializers are long.
fuzz_len_flink_savepoint = 20480
fuzz:
	$(foreach target,$(FUZZ_TARGETS), \
		mkdir -p fuzz/corpus/$(target) && \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir fuzz $(target) fuzz/corpus/$(target) fuzz/seeds/$(target) -- \
			-max_total_time=$(SECONDS) -max_len=$(or $(fuzz_len_$(target)),4096) || exit 1;)

# Changes one expression at a time in FILES and lists the changes that no test detects in MUTATIONS.md. Hours for all files.
FILES ?= backend-api/src/row/*.rs backend-api/src/format/trailer.rs backend-api/src/format/section.rs backend-fs/src/chains.rs
mutants:
	$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-mutants
	$(CARGO) mutants --workspace $(FILES:%=--file '%'); case $$? in 0|2|3) ;; *) exit 1 ;; esac
	conformance-tests/mutants-report.py mutants.out/outcomes.json > conformance-tests/MUTATIONS.md

# Hands snapshots over between threads, in every order of their steps.
loom:
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked -p backend-memory --lib hand_over \
		--target-dir $${CARGO_TARGET_DIR:-target}/loom

# The crate with unsafe code under AddressSanitizer. Needs no nightly compiler.
asan:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address $(CARGO) test --locked -p backend-memory --lib \
		--target x86_64-unknown-linux-gnu --target-dir $${CARGO_TARGET_DIR:-target}/asan
