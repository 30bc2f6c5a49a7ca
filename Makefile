# The two commands are `make demo` and `make test`; each installs what it lacks.

PREFIX ?= /usr/local
export PREFIX DESTDIR
# Features that the tests are to have besides the default ones, for instance metal.
FEATURES ?=

help:
	@echo 'make demo      build everything, then write LLVM IR with a C++ program and a small T5'
	@echo 'make test      every check: Rust, C, C++, Go'
	@echo 'make test-aarch64   the kernels for ARM, under qemu (Linux, as root: it may make a chroot of Debian sid)'
	@echo 'make cuda      the library for NVIDIA GPUs, which `make install` puts beside the main one (fetches CUDA'"'"'s compiler)'
	@echo 'make build     the library (shared and static) and the command line, in target/release'
	@echo 'make install   put them into PREFIX (default /usr/local), under DESTDIR if it is set'
	@echo 'make header    make include/kinglet.h anew from src/ffi'
	@echo 'make bench     the benchmarks'
	@echo 'make clean     remove what was built; what was fetched stays'

build:
	@scripts/setup build
	cargo build --release --features '$(FEATURES)'

install: build
	@scripts/install

prefix: build
	@PREFIX=build/prefix DESTDIR= scripts/install

demo:
	@scripts/setup demo
	@$(MAKE) --no-print-directory prefix
	@scripts/demo

test:
	@scripts/setup test
	@scripts/fetch-model minilm
	@scripts/fetch-model smollm2
	@scripts/fetch-model onnxruntime && scripts/fetch-model minilm-onnx || printf '\n*** The tests of ONNX graphs will be skipped\n\n'
	cargo fmt --check
	cargo clippy --all-targets --features '$(FEATURES)' -- -D warnings
	cargo test --features '$(FEATURES)'
	@# Equal bits hold for each instruction set; the tests above ran the machine's best.
	KINGLET_ISA=avx512 cargo test --test same_bits --test generation_bits fixtures
	KINGLET_ISA=avx2 cargo test --test same_bits --test generation_bits fixtures
	KINGLET_ISA=portable cargo test --test same_bits --test generation_bits fixtures
	@$(MAKE) --no-print-directory prefix
	@scripts/test-consumers
	@scripts/test-go

test-aarch64:
	@scripts/test-aarch64

cuda:
	@scripts/cuda

header:
	KINGLET_UPDATE_HEADER=1 cargo test --test header

bench:
	@scripts/setup build
	cargo bench

clean:
	cargo clean
	rm -rf build/prefix build/demo build/demo.log build/consumers build/go-test.json

.PHONY: help build install prefix demo test test-aarch64 cuda header bench clean
.DEFAULT_GOAL := help
