# Countersign. `make` lists the targets.
#
# Nothing has to be installed by hand beyond cargo, make and a C compiler: `make toolchain`, which
# every target here begins with, adds the compiler's WebAssembly target. A target that needs more
# says so.

CARGO ?= cargo
# One feature set and one target folder for everything, so that nothing is built twice.
CARGO_FLAGS ?= --locked
# The target folder, as cargo takes it.
TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))
# By the binary and not by its package: cargo then unifies features over the whole workspace, as for
# the tests, and builds nothing twice.
COUNTERSIGN = $(CARGO) run $(CARGO_FLAGS) --quiet --bin countersign --

# `make crates`: those of an embedding issuer, and the SDK of policies in Rust.
CRATES = countersign countersign-clouds countersign-compiler-worker countersign-policy countersign-policy-macros countersign-signing

# `make fuzz`: the targets, and the time for each. Needs a C++ compiler.
FUZZ_TARGETS ?= component smith mutated run manifest settings verdict
FUZZ_SECONDS ?= 600
# `make kills`: the number of times that the service is killed.
KILLS ?= 1000
# `make bench` and `make bench-tokens`: the number of runs, of which the tables have the median and the extremes.
RUNS ?= 5
# `make corpus`: the number of inputs kept for each target, the smallest ones.
CORPUS_FILES ?= 300
# cargo-fuzz passes unstable flags, which this makes the stable compiler accept: the fuzzed policies are
# then the tested ones.
FUZZ = cd fuzz && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz
FUZZ_FLAGS = --sanitizer none

# Inserts target/NAME.md into benches/README.md, between the marker of that name and the end marker.
figures = grep -q '^<!-- $(1) -->' benches/README.md && awk '/^<!-- $(1) -->/ { print; while ((getline line < "target/$(1).md") > 0) print line; \
	skip = 1; next } /^<!-- end -->/ { skip = 0 } !skip' benches/README.md > target/figures.md \
	&& mv target/figures.md benches/README.md

# Runs the bench $(2), shows its table, and inserts that into benches/README.md unless the bench fails: a table is of what
# was measured, and a regression is none of what is so.
measure = mkdir -p target; (RUNS=$(RUNS); export RUNS; $(2)) > target/$(1).md; failed=$$?; cat target/$(1).md; \
	[ $$failed = 0 ] && $(call figures,$(1))

# Keeps the table of $(1) of this kind of processor beside those of others, named as its first line has it.
kept = kind=$$(sed -n '1s/^[0-9]* × //; 1s/),.*//p' target/$(1).md | tr A-Z a-z | tr -cs 'a-z0-9\n' -); \
	cp target/$(1).md benches/figures/$(1)-$$kind.md

.PHONY: help demo serve install test e2e analysis replicas languages image chart deploy-check lint lint-engines unit doc policies engines toolchain golden deny clean trust-corpus registry publish protos console upgrade custody package package-check crates test262 reproducible
.PHONY: fuzz corpus bench bench-build bench-check bench-compiling bench-custody bench-decisions bench-export bench-flood bench-hostile bench-impact bench-languages bench-replicas bench-threads bench-tokens flame-graph kills schemathesis bench-signer bench-console

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: toolchain ## Build everything, then show one run approved, one refused and one narrowed
	@echo "== building (minutes the first time: the WebAssembly compiler is part of it)"
	@$(CARGO) build $(CARGO_FLAGS) --bin countersign
	@$(COUNTERSIGN) demo

serve: toolchain policies ## Start the issuer on loopback with six policies and a run, and print how to use it (curl, jq)
	@$(CARGO) build $(CARGO_FLAGS) --bin countersign
	@sh examples/serve.sh

install: toolchain ## Install `countersign` with cargo, and with it the engines that `make engines` built
	$(CARGO) install $(CARGO_FLAGS) --path host/cli
	@[ ! -d target/lib/countersign/engines ] || $(CARGO) run $(CARGO_FLAGS) --quiet --bin countersign-engines -- \
		"$${CARGO_INSTALL_ROOT:-$${CARGO_HOME:-$$HOME/.cargo}}/lib/countersign/engines"

test: lint unit doc ## Run lints, tests and documentation: everything but what needs the engines, which is `make languages`

lint: toolchain
	@sh .ci/toolchain lint
	@echo "== formatting and lints"
	$(CARGO) fmt --all --check
	cd guest-policies/engines && $(CARGO) fmt --all --check
	cd e2e/openidconnect && $(CARGO) fmt --all --check
	cd protos/generate && $(CARGO) fmt --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- --deny warnings

# The engines are a workspace of their own, with parsers and evaluators that nothing else here needs: what compiles them
# as libraries goes with the other languages.
lint-engines: toolchain
	@sh .ci/toolchain lint
	cd guest-policies/engines && $(CARGO) clippy $(CARGO_FLAGS) --all-targets --target-dir $(TARGET)/tmp/engines -- --deny warnings

# Without the engines, which take minutes to build: their tests are ignored here, and `make languages` runs them.
unit: toolchain
	@echo "== tests"
	$(CARGO) test $(CARGO_FLAGS) --workspace

e2e: toolchain ## Exchange tokens at stand-ins of the clouds, with the clouds' own clients, and speak to each door with its own (needs python3 with venv, npm with Node 20 or newer, and go)
	@sh e2e/clients.sh
	COUNTERSIGN_E2E=$(CURDIR)/target/e2e $(CARGO) test $(CARGO_FLAGS) --workspace --test clients --test door_clients --test trust_format -- --include-ignored

console: toolchain ## Walk through the console's pages in Chromium, with axe, in light and dark, with and without JavaScript (installs chromium with apt-get; needs npm with Node 20 or newer)
	@sh e2e/console.sh
	COUNTERSIGN_CONSOLE=$(CURDIR)/target/console $(CARGO) test $(CARGO_FLAGS) --workspace --test console a_browser -- --include-ignored

replicas: toolchain ## Run stores and replicas on real PostgreSQL servers, which are killed, cut off and failed over (KILLS; installs PostgreSQL and pgbouncer)
	@sh .ci/postgres
	$(CARGO) test $(CARGO_FLAGS) --workspace --test store_contract --test postgres_store --test replicas --test replica_drills --test replica_releases --test upgrade -- --include-ignored --nocapture --test-threads 2

upgrade: toolchain ## Replace replicas of the version before (BEFORE, a commit, which is built apart) by this one under load (installs PostgreSQL and pgbouncer)
	@[ -n "$(BEFORE)" ] || { echo "name the version before: make upgrade BEFORE=COMMIT" >&2; exit 1; }
	@sh .ci/postgres
	@sh .ci/before "$(BEFORE)" $(TARGET)/before
	COUNTERSIGN_BEFORE=$(TARGET)/before/target/debug/countersign $(CARGO) test $(CARGO_FLAGS) --workspace --test upgrade -- --include-ignored --nocapture

custody: toolchain ## Sign with keys in a PKCS #11 token (SoftHSM) and in a stand-in of AWS KMS (moto), and disturb both (installs softhsm2; needs python3 with venv)
	@sh .ci/softhsm
	@sh e2e/analysis/readers.sh
	COUNTERSIGN_ANALYSIS=$(CURDIR)/target/analysis $(CARGO) test $(CARGO_FLAGS) --workspace --test custody_peers -- --include-ignored --nocapture

registry: toolchain ## Ship policies through Debian's docker-registry, and verify them with cosign, oras and npm's @sigstore/verify (installs them beside; needs npm)
	@sh e2e/registry.sh
	COUNTERSIGN_E2E=$(CURDIR)/target/e2e $(CARGO) test $(CARGO_FLAGS) --workspace --test registry --test registry_access --test registry_flows --test registry_peers --test registry_service --test registry_store -- --include-ignored

analysis: toolchain ## Read an export of decisions with DuckDB, pyarrow and pyiceberg, from a folder and a stand-in of S3, and traces with oteltap (needs python3 with venv)
	@sh e2e/analysis/readers.sh
	COUNTERSIGN_ANALYSIS=$(CURDIR)/target/analysis $(CARGO) test $(CARGO_FLAGS) --workspace --test analysis --test traces -- --include-ignored

languages: toolchain engines lint-engines ## Create, build and test a policy in each language, with its own tools; compare the engines with the libraries that they are made of, with node, CPython and cel-js (needs python3 with venv, and npm with Node 20 or newer)
	@sh e2e/cel.sh
	@sh e2e/types.sh
	@echo "== languages"
	COUNTERSIGN_CEL=$(CURDIR)/target/e2e/cel $(CARGO) test $(CARGO_FLAGS) --workspace --test engines --test schema -- --include-ignored
	@# Tests one after the other use one processor, so these go beside each other; what the first say comes last.
	@export COUNTERSIGN_TEST_CACHE=$(TARGET)/tmp/cache; \
	COUNTERSIGN_TYPES=$(CURDIR)/target/e2e/types $(CARGO) test $(CARGO_FLAGS) --workspace --test cookbook --test language_tools --test registry_texts -- --include-ignored \
		> $(TARGET)/languages-beside.log 2>&1 & beside=$$!; failed=0; \
	$(CARGO) test $(CARGO_FLAGS) --workspace --test languages -- --include-ignored --nocapture --test-threads 1 || failed=$$?; \
	wait $$beside || failed=$$?; cat $(TARGET)/languages-beside.log; exit $$failed

test262: toolchain engines ## Run the part of test262 that policies use, from a folder that has it (TEST262), and compare what fails with what is expected
	@[ -n "$(TEST262)" ] || { echo "name a folder with test262, of github.com/tc39/test262: make test262 TEST262=FOLDER" >&2; exit 1; }
	TEST262="$(abspath $(TEST262))" $(CARGO) test $(CARGO_FLAGS) --workspace --test test262 -- --include-ignored --nocapture

reproducible: toolchain engines ## Build the engines once more, from a copy of the sources in another folder, and compare the bytes (many minutes)
	@sh .ci/reproducible

doc: toolchain
	@echo "== documentation"
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps

policies: toolchain ## Build every policy to target/policies/NAME.wasm
	@$(CARGO) run $(CARGO_FLAGS) --quiet --bin countersign-policy-artifacts -- target/policies
	@ls -l target/policies

engines: toolchain ## Build the engines of languages (minutes), unless they are there for these sources
	@$(CARGO) run $(CARGO_FLAGS) --quiet --bin countersign-engines

toolchain: ## Add the compiler's WebAssembly target, by rustup or Debian's packages
	@sh .ci/toolchain

golden: toolchain engines ## Rewrite the golden files of the tests
	UPDATE=1 $(CARGO) test $(CARGO_FLAGS) --workspace

trust-corpus: ## Compare `trust lint` with the expert's answers, and count misses and false findings
	@$(CARGO) test $(CARGO_FLAGS) --quiet --workspace --test answers -- --nocapture

protos: ## Generate the code of protos/*.proto (needs no protoc)
	cd protos/generate && $(CARGO) run --locked --quiet --target-dir $(TARGET)/tmp/protos
	$(CARGO) fmt --all

fuzz: toolchain ## Fuzz every target for FUZZ_SECONDS (600), starting from the corpus and earlier finds
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do mkdir -p fuzz/found/$$target fuzz/corpus/$$target; done
	@$(FUZZ) build $(FUZZ_FLAGS)
	@set -e; for target in $(FUZZ_TARGETS); do \
		echo "== fuzzing $$target for $(FUZZ_SECONDS) s"; \
		($(FUZZ) run $(FUZZ_FLAGS) $$target found/$$target corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2048 -max_len=8192 \
			-verbosity=0 -print_final_stats=1); \
	done

corpus: toolchain ## After `make fuzz`: add its finds to the corpus that `make test` replays
	@for target in $(FUZZ_TARGETS); do mkdir -p fuzz/found/$$target fuzz/corpus/$$target; done
	@$(CARGO) run $(CARGO_FLAGS) --quiet --bin seeds -- fuzz/corpus
	@$(FUZZ) build $(FUZZ_FLAGS)
	@set -e; for target in $(FUZZ_TARGETS); do \
		($(FUZZ) run $(FUZZ_FLAGS) $$target corpus/$$target found/$$target -- \
			-merge=1 -timeout=20 -max_len=2048 -verbosity=0); \
		(cd fuzz/corpus/$$target && ls -S | head -n -$(CORPUS_FILES) | xargs -r rm); \
	done
	@set -e; for target in smith mutated; do \
		files=$$(cd fuzz && find corpus/$$target -type f | head -50); \
		[ -n "$$files" ] || continue; \
		(export COUNTERSIGN_KEEP=corpus/component; $(FUZZ) run $(FUZZ_FLAGS) $$target $$files -- -verbosity=0); \
	done

bench-hostile: toolchain ## Measure time, memory and leaks of every hostile policy, and the effect on others
	$(CARGO) bench $(CARGO_FLAGS) --bench hostile > benches/figures/hostile.md
	@cat benches/figures/hostile.md
	$(CARGO) bench $(CARGO_FLAGS) --bench neighbours > target/neighbours.md
	@cat target/neighbours.md
	@$(call figures,neighbours)

# The peers are a workspace of their own. The target folder is named as the root names it: policies are compiled with its
# name among their flags, and would be compiled again for another.
bench: bench-decisions bench-threads ## Compare decisions with other engines, with signatures and between threads; fails on a regression (UPDATE=1 records)

bench-compiling: toolchain ## Measure what compiling costs beside what is counted before it, and search for components that cost more (SECONDS=60)
	@$(call measure,compiling,$(CARGO) bench $(CARGO_FLAGS) --bench compiling)

bench-decisions: toolchain
	@$(call measure,decisions,cd benches/peers && $(CARGO) bench $(CARGO_FLAGS) --target-dir $(CURDIR)/target --bench decisions)
	@$(call kept,decisions)

bench-threads: toolchain
	@$(call measure,threads,$(CARGO) bench $(CARGO_FLAGS) --bench threads)
	@$(call kept,threads)

bench-tokens: toolchain ## Measure tokens per second of the service, with durable records, and overload; fails on a regression (UPDATE=1 records)
	$(CARGO) build $(CARGO_FLAGS) --release --bin countersign
	@$(call measure,tokens,$(CARGO) bench $(CARGO_FLAGS) --bench tokens)

bench-replicas: toolchain ## Measure tokens per second of one and two replicas on PostgreSQL, beside one process on SQLite
	@sh .ci/postgres
	$(CARGO) build $(CARGO_FLAGS) --release --bin countersign
	@$(call measure,replicas,$(CARGO) bench $(CARGO_FLAGS) --bench replicas)

bench-custody: toolchain ## Measure signatures and tokens per second by the custody of the keys (installs softhsm2; needs python3 with venv)
	@sh .ci/softhsm
	@sh e2e/analysis/readers.sh
	$(CARGO) build $(CARGO_FLAGS) --release --bin countersign
	@COUNTERSIGN_ANALYSIS=$(CURDIR)/target/analysis; export COUNTERSIGN_ANALYSIS; $(call measure,custody,$(CARGO) bench $(CARGO_FLAGS) --bench custody)

bench-flood: toolchain ## Measure exchanges and probes while callers that have proved nothing flood the service; fails past its targets (RUNS=1)
	$(CARGO) build $(CARGO_FLAGS) --release --bin countersign
	@$(call measure,flood,$(CARGO) bench $(CARGO_FLAGS) --bench flood)

bench-signer: toolchain ## Measure signatures for a cluster's API server beside rotations; fails if a token does not verify
	@$(call measure,signer,$(CARGO) bench $(CARGO_FLAGS) --bench signer)

bench-build: toolchain ## Measure the first build, test and installation, from nothing (half an hour; nothing else should run)
	@mkdir -p target
	$(CARGO) run $(CARGO_FLAGS) --quiet --bin countersign-first-build -- $(CURDIR) > target/build.md
	@cat target/build.md
	@$(call figures,build)

flame-graph: toolchain ## Record the service under load: a graph and a table for each algorithm (needs perf: Debian's linux-perf)
	@sh benches/flame-graph.sh tools
	$(CARGO) build $(CARGO_FLAGS) --release --bin countersign
	@set -e; for algorithm in es256 rs256; do \
		PERF_DATA=$(CURDIR)/target/perf-$$algorithm.data $(CARGO) bench $(CARGO_FLAGS) --bench tokens -- flame-graph $$algorithm \
			> target/flame-graph-$$algorithm.micros; \
		sh benches/flame-graph.sh draw $$algorithm; \
	done
	@$(call measure,parts,sh benches/flame-graph.sh parts)

bench-impact: toolchain ## Measure the impact of a change on a million recorded decisions (DECISIONS), beside loops of other engines; needs 4 GB of disk
	@IMPACT_LOG=$(TARGET)/impact-log; export IMPACT_LOG; rm -rf "$$IMPACT_LOG"; \
	$(call measure,impact,$(CARGO) bench $(CARGO_FLAGS) --bench impact && \
		cd benches/peers && $(CARGO) bench $(CARGO_FLAGS) --target-dir $(CURDIR)/target --bench loops); \
	failed=$$?; rm -rf "$$IMPACT_LOG"; exit $$failed

bench-console: toolchain ## Measure the console's index and pages over a million records (DECISIONS); fails past its targets; needs 5 GB of disk
	@$(call measure,console,$(CARGO) bench $(CARGO_FLAGS) --bench console)

bench-export: toolchain ## Measure the export of a million records (DECISIONS), and compare what DuckDB, pyarrow and pyiceberg count in it (needs python3 with venv, and 6 GB of disk)
	@sh e2e/analysis/readers.sh
	@READERS=$(CURDIR)/target/analysis/python/bin/python; export READERS; $(call measure,export,$(CARGO) bench $(CARGO_FLAGS) --bench export)

bench-languages: toolchain engines ## Measure a policy in each language: size, evaluation, memory (needs python3 with venv)
	$(CARGO) build $(CARGO_FLAGS) --release --bin countersign
	COUNTERSIGN=$(CURDIR)/target/release/countersign $(CARGO) bench $(CARGO_FLAGS) --bench languages > target/languages.md
	@cat target/languages.md
	@$(call figures,languages)

kills: toolchain ## Kill the service under load, 1,000 times (KILLS), also with parts of its state taken away, and check that nothing is lost
	KILLS=$(KILLS) $(CARGO) test $(CARGO_FLAGS) --workspace --test serve --test kills killing -- --nocapture

schemathesis: toolchain ## Test the service against its OpenAPI description (needs Python)
	@$(CARGO) build $(CARGO_FLAGS) --bin countersign
	@sh host/http/tests/schemathesis.sh

bench-check: toolchain ## Compare the instructions of decisions and of a token with the recorded ones (needs valgrind; UPDATE=1 records)
	$(CARGO) bench $(CARGO_FLAGS) --bench instructions

image: toolchain policies ## Build the image of the service as an OCI layout in target/image, and its provenance, signed by KEY (PEM) if given (needs umoci)
	$(CARGO) build $(CARGO_FLAGS) --release --bin countersign
	sh deploy/image/build.sh $(TARGET)/release/countersign target/policies target/image $(KEY)

chart: ## Package the Helm chart in target/chart, and its provenance, signed by KEY (PEM) if given
	sh deploy/chart.sh target/chart $(KEY)

package: toolchain policies ## Build a Debian package and an archive in target/package, and their provenance, signed by KEY (PEM) if given (needs dpkg-dev; installs cargo-deb beside)
	$(CARGO) build $(CARGO_FLAGS) --release --bin countersign
	sh deploy/package/build.sh $(TARGET)/release/countersign target/policies target/package $(KEY)

publish: toolchain policies ## Publish the policies, and the engines that `make engines` built, in REGISTRY (host[:port]), signed by KEY (PEM) if given
	@[ -n "$(REGISTRY)" ] || { echo "name the registry: make publish REGISTRY=registry.example" >&2; exit 1; }
	@$(CARGO) build $(CARGO_FLAGS) --bin countersign
	@sh deploy/publish.sh $(TARGET)/debug/countersign "$(REGISTRY)" target/policies target/lib/countersign/engines $(KEY)

deploy-check: toolchain ## Check the unit, the chart and an image, which is started as it will be (installs what it needs)
	@$(CARGO) build $(CARGO_FLAGS) --bin countersign
	@$(CARGO) run $(CARGO_FLAGS) --quiet --bin countersign-policy-artifacts -- target/policies
	@sh deploy/tests/check.sh $(TARGET)/debug/countersign target/policies

crates: ## Package the crates that an embedding issuer builds on and the SDK, as `cargo publish` does, and upload nothing
	$(CARGO) publish $(CARGO_FLAGS) --dry-run --no-verify $(CRATES:%=--package %)

package-check: toolchain policies ## Install, start and purge a package on a clean Debian root (needs root; installs debootstrap)
	@$(CARGO) build $(CARGO_FLAGS) --bin countersign
	@sh deploy/tests/check-package.sh $(TARGET)/debug/countersign target/policies

deny: ## Check licences, sources and advisories of all dependencies (needs cargo-deny)
	$(CARGO) deny check
	cd guest-policies/engines && $(CARGO) deny --config ../../deny.toml check
	cd e2e/openidconnect && $(CARGO) deny --config ../../deny.toml check

clean: ## Remove everything that was built
	$(CARGO) clean
