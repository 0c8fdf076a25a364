.DEFAULT_GOAL := help
CARGO ?= cargo
# Where Debian keeps mke2fs and its like is not on everybody's path.
export PATH := $(PATH):/usr/sbin:/sbin
.PHONY: help demo test fmt lint unit oracles doc base-image boot-test cluster-test torture coverage fuzz bench dist deb clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## press a four-node cluster from the small base that ships, and show what was made
	@echo "building cardpress, which takes minutes the first time" >&2
	@$(CARGO) build --locked --release
	@sh profiles/demo/demo.sh target/release/cardpress

test: oracles fmt lint unit doc ## everything a commit should pass; installs the checkers it needs, or names them

fmt: ## the formatter has nothing to say
	$(CARGO) fmt --check

lint: ## neither has clippy
	$(CARGO) clippy --all-targets --quiet -- -D warnings

# What takes loop devices is skipped for who is not root, and says so; but not in CI, where nothing may be skipped.
unit: ## unit, command-line and oracle tests
	CARDPRESS_ORACLES=$(if $(or $(CI),$(filter 0,$(shell id -u))),require) $(CARGO) test --quiet

doc: ## the documentation builds, with no broken link
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --quiet

oracles: ## the programs that judge our work: e2fsprogs, dosfstools, mtools, …
	@sh tests/support/install-oracles.sh

base-image: ## a full-size image shaped like Raspberry Pi OS, from Debian packages (RELEASE=trixie ARCH=arm64)
	sh fixtures/base-image/make.sh

boot-test: base-image ## press two nodes from it, boot both under QEMU, look around over ssh
	$(CARGO) build --release --quiet
	tests/boot/run

cluster-test: ## boot whole clusters under QEMU and see them work (SCENARIO=slurm for one of them)
	FLAVOUR=cluster RELEASE=trixie ARCH=arm64 sh fixtures/base-image/make.sh
	$(CARGO) build --release --quiet
	tests/cluster/run $(SCENARIO)

torture: ## random runs of the ext4 editor, N=20000 of them
	CARDPRESS_TORTURE_SEQUENCES=$(or $(N),20000) $(CARGO) test --release --test main ext4_property -- --nocapture

coverage: ## which lines of src/image no test runs; needs cargo-llvm-cov and LLVM's tools
	sh tests/coverage/run.sh

fuzz: ## spoilt images for every parser, FUZZ_SECONDS=1200 for each target (TARGETS="fat mbr …" for some); needs cargo-fuzz
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),1200) sh fuzz/run.sh $(TARGETS)

bench: ## nodes, edits, unpacking, downloads: side by side with what people would use instead
	$(CARGO) build --release --quiet
	sh tests/bench/run.sh

dist: ## a release archive for this machine, and its SHA-256, in target/archives
	sh packaging/dist.sh

deb: ## that, and a Debian package of the same; needs cargo-deb
	@$(CARGO) deb --version >/dev/null 2>&1 || { echo "error: first \`cargo install --locked cargo-deb\`" >&2; exit 1; }
	sh packaging/dist.sh
	sh packaging/deb.sh

clean: ## remove what was built and pressed
	rm -rf target out
