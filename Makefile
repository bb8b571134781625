# Countersign. `make` lists the targets.
#
# Nothing has to be installed by hand beyond cargo, make and a C compiler: `make toolchain`, which
# every target here begins with, adds the compiler's WebAssembly target.

CARGO ?= cargo
# One feature set and one target folder for everything, so that nothing is built twice.
CARGO_FLAGS ?= --locked
COUNTERSIGN = $(CARGO) run $(CARGO_FLAGS) --quiet --package countersign-cli --

.PHONY: help demo test lint unit doc policies toolchain golden deny clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: toolchain ## Build everything, then show a run approved, one refused, one narrowed
	@echo "== building (minutes the first time: the WebAssembly compiler is part of it)"
	@$(CARGO) build $(CARGO_FLAGS) --package countersign-cli
	@$(COUNTERSIGN) demo

test: lint unit doc ## Run everything: lints, tests, documentation

lint: toolchain
	@sh .ci/toolchain lint
	@echo "== formatting and lints"
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- --deny warnings

unit: toolchain
	@echo "== tests"
	$(CARGO) test $(CARGO_FLAGS) --workspace

doc: toolchain
	@echo "== documentation"
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps

policies: toolchain ## Build every policy to target/policies/NAME.wasm
	@$(CARGO) run $(CARGO_FLAGS) --quiet --package countersign-policy-artifacts -- target/policies
	@ls -l target/policies

toolchain: ## Add the compiler's WebAssembly target, by rustup or Debian's packages
	@sh .ci/toolchain

golden: toolchain ## Rewrite the golden files of the tests
	UPDATE=1 $(CARGO) test $(CARGO_FLAGS) --workspace

deny: ## Check licences, sources and advisories of all dependencies (needs cargo-deny)
	$(CARGO) deny check

clean: ## Remove everything that was built
	$(CARGO) clean
