# The two commands are `make demo` and `make test`; each installs the tools that it lacks. `make help` lists the others.

# GNU's variables. LIBDIR is lib/MULTIARCH on Debian (LIBDIR=$(PREFIX)/lib/x86_64-linux-gnu) and lib64 on Fedora.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
export PREFIX BINDIR LIBDIR INCLUDEDIR DATADIR MANDIR DESTDIR
# Features that the tests enable besides the default ones, for instance metal.
FEATURES ?=

help:
	@echo 'make demo      build and install into build/prefix, then write LLVM IR with a C++ program and a small T5'
	@echo 'make test      run all tests: Rust, C, C++, Go, Swift, Python, the example programs'
	@echo 'make deps      install the tools that demo and test need (apt)'
	@echo 'make build     build the library (shared and static) and the command line in target/release'
	@echo 'make install   install what was built into PREFIX (default /usr/local), under DESTDIR if it is set'
	@echo '               BINDIR, LIBDIR, INCLUDEDIR, DATADIR and MANDIR override single folders'
	@echo 'make uninstall remove what make install installed'
	@echo 'make dist      build a release for this machine in build/dist: tar.gz, .deb, wheel, SHA-256 (dist-aarch64: for ARM)'
	@echo 'make test-dist check that release in a Debian without Rust (Linux, as root; MACHINE=aarch64: by an emulator)'
	@echo 'make docs      build the C and C++ reference (Doxygen) and the Rust documentation in build/docs'
	@echo 'make header    regenerate include/kinglet.h and what is generated with it from src/ffi'
	@echo 'make compatibility  run the cases of tests/compatibility and write docs/compatibility.md'
	@echo 'make abi-baseline   accept the ABI of src/ffi as what later versions must keep (docs/abi-policy.md)'
	@echo 'make bench     run the benchmarks'
	@echo 'make bench-release  run the benchmark suite on two models: reports in build/bench-release (docs/benchmark-suite.md)'
	@echo 'make bench-baseline run it for docs/baseline-performance.md, on an idle machine'
	@echo 'make scheduler-check  run the scheduler under a model checker'
	@echo 'make test-engines   run Ray Data, Spark and Daft with the Python package (installs them, 1.4 GB), beside make test'
	@echo 'make fuzz-smoke     run each fuzz target for a minute (nightly Rust, cargo-fuzz)'
	@echo 'make train-demo     train a small query rewriter (installs PyTorch, some gigabytes), and run it'
	@echo 'make cuda      build the library for NVIDIA GPUs, which make install adds (downloads the CUDA compiler)'
	@echo 'make test-aarch64   run the ARM kernels under qemu (Linux, as root: makes a chroot of Debian sid)'
	@echo 'make clean     remove what was built; downloads stay'

deps:
	@scripts/setup deps

build:
	@scripts/setup build
	cargo build --release --features '$(FEATURES)'

# Never builds and never calls a package manager, so that it may run as root.
install:
	@scripts/install

uninstall:
	@scripts/install --uninstall

prefix: build
	@env -u BINDIR -u LIBDIR -u INCLUDEDIR -u DATADIR -u MANDIR PREFIX=build/prefix DESTDIR= scripts/install

demo:
	@scripts/setup demo
	@$(MAKE) --no-print-directory prefix
	@scripts/demo

test:
	@scripts/setup test
	@scripts/fetch-model minilm
	@scripts/fetch-model smollm2
	@scripts/fetch-model onnxruntime && scripts/fetch-model minilm-onnx || printf '\n*** The tests of ONNX graphs will be skipped\n\n'
	scripts/speed-chart --check
	scripts/bench-docs --check
	cargo fmt --check
	cargo clippy --all-targets --features '$(FEATURES)' -- -D warnings
	cargo test --features '$(FEATURES)'
	@# Equal bits hold for each instruction set; the tests above ran the machine's best.
	set -e; for isa in $$(scripts/other-isas); do \
	    KINGLET_ISA=$$isa cargo test --test same_bits --test generation_bits fixtures; \
	done
	@$(MAKE) --no-print-directory prefix
	@scripts/test-consumers
	@scripts/test-cpp-search
	@scripts/test-go
	@scripts/test-go-service
	@scripts/test-monitoring
	@scripts/test-container
	@scripts/test-swift
	@scripts/test-python
	@scripts/test-training
	@scripts/test-release-check
	@scripts/test-bench-counts
	@[ "$$(uname -s)" != Linux ] || { scripts/dist --local && scripts/test-dist --local; }

dist:
	@scripts/setup build
	@scripts/dist
	@scripts/wheel

dist-aarch64:
	@scripts/setup build
	@scripts/dist aarch64
	@scripts/wheel aarch64

test-dist:
	@scripts/test-dist $(MACHINE)

docs:
	@scripts/docs

test-aarch64:
	@scripts/test-aarch64

test-engines: prefix
	@scripts/fetch-model minilm
	@scripts/test-engines

train-demo: build
	@scripts/train-demo

cuda:
	@scripts/cuda

header:
	KINGLET_UPDATE_HEADER=1 cargo test --test header

compatibility:
	KINGLET_UPDATE_COMPATIBILITY=1 cargo test --test compatibility

abi-baseline:
	KINGLET_UPDATE_ABI=1 cargo test --test header

# Each fuzz target for FUZZ_SECONDS; needs a nightly Rust and cargo-fuzz (fuzz/README.md).
FUZZ_SECONDS ?= 60
fuzz-smoke:
	@scripts/fuzz-seed
	@set -e; for target in $$(cargo +nightly fuzz list); do \
	    cargo +nightly fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=60 -max_len=65536; \
	done

bench:
	@scripts/setup build
	cargo bench

# Reports for the release checklist in build/bench-release; appends to the history in BENCH_HISTORY.
BENCH_HISTORY ?= build/bench-history
bench-release: build
	@scripts/fetch-model minilm
	$${CARGO_TARGET_DIR:-target}/release/kinglet bench suite --config benches/suites/release.toml --output build/bench-release --history $(BENCH_HISTORY)

# The page of the first baseline. Refused if the machine was busy or the tree has changes.
bench-baseline: bench-release
	scripts/bench-docs --baseline build/bench-release/report.json

clean:
	cargo clean
	rm -rf build/container build/kubernetes-venv build/prefix build/demo build/demo.log build/consumers build/docs build/go-test.log build/go-service build/cpp-search build/dist build/readme build/python-venv build/wheel-venv build/python-empty build/mypy build/mypy-engines build/engines-venv build/engines.log build/engines-pytest.log build/engines build/python.log build/pytest.log build/readme.py build/readme.out build/data build/training.log build/bench-against build/bench-quick build/bench-release build/bench-verdicts

# The handing on of the scheduler's lead, in thousands of orders, under the model checker shuttle.
scheduler-check:
	cargo test --manifest-path crates/scheduler-check/Cargo.toml

.PHONY: scheduler-check help deps build install uninstall prefix demo test dist dist-aarch64 test-dist docs test-aarch64 test-engines cuda header abi-baseline compatibility fuzz-smoke bench bench-release bench-baseline clean train-demo
.DEFAULT_GOAL := help
