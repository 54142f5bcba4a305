# Run `make help` for the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PROGRAMS := dispatcher worker ringctl

# How many packages are tested at once. More of them starve the real processes
# that tests start, on a small machine.
TEST_P ?= 2
TEST_FLAGS ?=

GOLANGCI_VERSION := 2.15.0
GOLANGCI_MODULE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# How much `make chaos` does: pr, nightly or release; more flags for its program.
TIER ?= pr
CHAOS_FLAGS ?=
FUZZTIME ?= 10s

# What `make differential` runs.
OPS ?= 100000

# What `make sim` runs.
FIRST ?= 1
SEEDS ?= 20000

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build bin/dispatcher, bin/worker and bin/ringctl (static)
	@mkdir -p bin
	@for p in $(PROGRAMS); do \
		echo "build bin/$$p ($(VERSION))"; \
		CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/$$p ./cmd/$$p || exit 1; \
	done

.PHONY: demo
demo: build ## Build, then run the whole story on real input (no server needed)
	@bin/ringctl demo

.PHONY: test
test: ## Install what the tests need where it is missing, then run all tests
	@scripts/install-test-deps
	CGO_ENABLED=1 $(GO) test -race -timeout 15m -p $(TEST_P) -parallel 4 $(TEST_FLAGS) ./...
	@$(MAKE) sim

.PHONY: differential
differential: ## The same OPS=100000 random operations to the simulator's store, the store in memory and a real server
	$(GO) test ./resize/sim -run '^TestModelAgainstServers$$' -count=1 -timeout 60m -v -ops $(OPS)

.PHONY: sim
sim: ## Simulate schedules of faults, FIRST=1 SEEDS=20000 (TRACE=1: print them; LIMITED=1: few of a type run at a time)
	@$(GO) run ./resize/sim/sweep -first $(FIRST) -seeds $(SEEDS) $(if $(TRACE),-trace) $(if $(LIMITED),-limited $(LIMITED))

.PHONY: check
check: ## Check formatting, vet and lint; changes nothing
	@out=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$out" ]; then echo "not formatted (run: make fmt):"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	@$(MAKE) lint

.PHONY: lint
lint: ## Run golangci-lint
	@GO="$(GO)" scripts/golangci-lint $(GOLANGCI_VERSION) $(GOLANGCI_MODULE) run ./...

.PHONY: fmt
fmt: ## Format all Go files
	gofmt -w $$(git ls-files --cached --others --exclude-standard '*.go')

.PHONY: chaos
chaos: ## Faults in real processes, audited: TIER=pr|nightly|release
	@scripts/install-test-deps
	@mkdir -p bin
	@$(GO) build -tags failpoints -o bin/chaos ./e2e/chaos
	@exec bin/chaos -tier $(TIER) $(CHAOS_FLAGS)

# What `make mutants` tries: the mutants whose names match, all without it.
MUTANT ?=

.PHONY: mutants
mutants: ## Put known bugs back one by one; the tests must notice each, MUTANT=name for some
	@scripts/install-test-deps
	@$(GO) run ./internal/mutants -only '$(MUTANT)'

# full: every pair of faults; small: every single fault, in a minute.
FORM ?= full

.PHONY: model
model: ## Search the protocol's model with spin: FORM=full|small|large
	@scripts/install-test-deps spin
	@$(GO) run ./internal/model -form $(FORM)

.PHONY: model-mutants
model-mutants: ## Take the model's guards away one by one; spin must find each
	@scripts/install-test-deps spin
	@$(GO) run ./internal/model -form mutants

# Which micro-benchmarks `make bench` runs, and how often; more flags for go test.
BENCH ?= .
BENCH_COUNT ?= 6
BENCH_FLAGS ?=

.PHONY: bench
bench: ## Micro-benchmarks of codec, lanes, ring and acks, in the form of benchstat: BENCH_COUNT=6
	@scripts/install-test-deps
	@$(GO) test -run '^$$' -bench '$(BENCH)' -count $(BENCH_COUNT) $(BENCH_FLAGS) \
		$$(grep -rl --include='*_test.go' --exclude-dir=peers '^func Benchmark' . | xargs -n1 dirname | sort -u)

# More flags for the program of `make bench-peers`: -rounds, -scale, -only, -postgres.
PEERS_FLAGS ?=

.PHONY: check-peers
check-peers: ## Vet and test bench/peers, whose many dependencies are its own
	cd bench/peers && $(GO) vet ./... && $(GO) test ./...

.PHONY: bench-peers
bench-peers: ## The same jobs through other job systems, in turn (River with RINGMASTER_BENCH_POSTGRES=url)
	@scripts/install-test-deps
	@mkdir -p bin
	@cd bench/peers && $(GO) build -ldflags "-X main.version=$(VERSION)" -o ../../bin/peers .
	@exec bin/peers $(PEERS_FLAGS)

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME=10s
	@GO="$(GO)" scripts/fuzz $(FUZZTIME)

.PHONY: tools
tools: ## Install the linter in the version that `make lint` uses
	$(GO) install $(GOLANGCI_MODULE)@v$(GOLANGCI_VERSION)

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
