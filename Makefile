# `make` builds, `make run` starts the whole system on this machine, `make test` checks everything; `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

GO       ?= go
FUZZTIME ?= 20s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# make run
REDIS    ?=
GATEWAYS ?= 1
BACKENDS ?= 1
RUNARGS  ?=

# make proof, profile, proof-storm, …
PROOFARGS ?=

# make faults: SEED of the plan (empty: a new one), MINUTES of faults, at least so many FAULTS (empty: 10 a minute)
SEED      ?=
MINUTES   ?= 20
FAULTS    ?=
FAULTARGS ?=

# make conformance: --only TEXT, --list
CONFORMANCEARGS ?=

# make compression: --subscribers N, --publications N, --bytes N, --level N
COMPRESSIONARGS ?=

# Built from source with the Go of this machine, so that it understands the language version in go.mod.
LINT_VERSION := v2.15.0
LINT         := .tmp/bin/golangci-lint-$(LINT_VERSION)

# make hostile: --only NAME, --half N, --crowd N, …
HOSTILEARGS ?=

# make sim
SEEDS ?= 10000
FIRST ?= 1

# make faults-rewards: EVENTS, one in POISON of which cannot be counted, something breaks EVERY so often; make rewards-load: RATE (events a second), WORKERS
EVENTS  ?= 1000000
POISON  ?= 10000
EVERY   ?= 3s
RATE    ?= 5000
WORKERS ?= 2

# make bench, bench-quick: --only NAMES, --skip NAMES, --rounds N, …; go run ./bench/cmd/bench --help has them all
BENCHARGS ?=

.PHONY: help
help: ## Say what can be made
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo "  make run REDIS=redis://HOST:PORT/0 GATEWAYS=3 BACKENDS=2 RUNARGS='--gateway-port 8100'"
	@echo "  make fuzz FUZZTIME=5m"

.PHONY: build
build: ## Build bin/gateway, bin/backend, bin/loadtest, bin/pollserver and bin/local
	@$(GO) build -buildvcs=false -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ \
		./gateway/cmd/gateway ./backend/cmd/backend ./loadtest/cmd/loadtest ./loadtest/cmd/pollserver ./deploy/local

.PHONY: run
run: build ## Start Redis, gateways and backends on this machine; Ctrl-C stops them
	@exec bin/local --gateways $(GATEWAYS) --backends $(BACKENDS) $(if $(REDIS),--redis '$(REDIS)') $(RUNARGS)

.PHONY: test
test: setup build lint unit race ## Everything that must be green: fetches its tools, lint, all tests, short fuzzing
	@$(MAKE) fuzz FUZZTIME=2s

.PHONY: setup
setup: ## Install what the tests need and this machine lacks
	@scripts/setup

.PHONY: unit
unit: ## Run every test
	$(GO) test ./...

.PHONY: race
race: ## Run every short test under the race detector, but those that mostly watch other programs
	$(GO) test -race -short $$($(GO) list ./... | grep -v -e /e2e -e /cmd/ -e /postgres$$ -e backend/sim$$)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

.PHONY: lint
lint: $(LINT) ## Check with go vet and golangci-lint
	$(GO) vet ./...
	$(LINT) run

.PHONY: fmt
fmt: $(LINT) ## Format all Go files
	$(LINT) fmt

.PHONY: proof
proof: build ## Prove the promise: 15,000 connections, p99 under 50 ms, nothing lost
	$(GO) run ./loadtest/cmd/proof $(PROOFARGS)

.PHONY: profile
profile: build ## Profile the gateway under the load of the proof: CPU, heap, what it waits for; docs/TUNING.md reads them
	$(GO) run ./loadtest/cmd/proof --only direct --profile .tmp/profile --json .tmp/profile.json $(PROOFARGS)

.PHONY: proof-storm
proof-storm: build ## Prove it: 15,000 connections cut at once, back at once, nothing lost (4 minutes)
	$(GO) run ./loadtest/cmd/proof --only storm --json .tmp/proof-storm.json $(PROOFARGS)

.PHONY: proof-slow
proof-slow: build ## Prove it: 1,000 stopped readers, by each policy, disturb nobody (17 minutes)
	$(GO) run ./loadtest/cmd/proof --only slow --json .tmp/proof-slow.json $(PROOFARGS)

# make compare-multiplex, compare-polling: PROOFARGS as above
.PHONY: compare-multiplex
compare-multiplex: build ## Compare one connection with 100 channels with 100 connections: what the gateway needs (3 minutes)
	$(GO) run ./loadtest/cmd/proof --only multiplex --json .tmp/compare-multiplex.json $(PROOFARGS)

.PHONY: compare-polling
compare-polling: build ## Compare push with HTTP polling every 5 s: the servers' cost, and how late news are (3 minutes)
	$(GO) run ./loadtest/cmd/proof --only polling --json .tmp/compare-polling.json $(PROOFARGS)

.PHONY: compare
compare: compare-multiplex compare-polling ## Make both comparisons

.PHONY: proof-ended
proof-ended: build ## Prove it: the gateway killed, then drained, under 15,000 connections; all come back, nothing lost (4 minutes)
	$(GO) run ./loadtest/cmd/proof --only kill,drain --json .tmp/proof-ended.json $(PROOFARGS)

.PHONY: proof-soak
proof-soak: build ## Run the load of the proof for half an hour on processes of its own, with a plot of their memory in .tmp/soak.svg
	$(GO) run ./loadtest/cmd/proof --only soak --json .tmp/proof-soak.json $(PROOFARGS)

# make soak: against a system that runs already (make run); SOAKARGS='--url ws://… -d 10m'
SOAKARGS ?=

.PHONY: soak
soak: build ## Run the load of the proof for half an hour against a running system
	bin/loadtest run soak $(SOAKARGS)

.PHONY: faults
faults: build ## Kill, stall and cut everything for MINUTES by the plan of SEED, and check every publication
	$(GO) run ./e2e/faults --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) $(FAULTARGS)

.PHONY: conformance
conformance: build ## Run some 1,500 cases of RFC 6455, 7692, 9112 and 3629 against the gateway (10 seconds)
	$(GO) run ./e2e/conformance $(CONFORMANCEARGS)

.PHONY: compression
compression: build ## Measure compression: 15,000 subscribers of one channel, off against on (a minute)
	$(GO) run ./e2e/compression $(COMPRESSIONARGS)

.PHONY: hostile
hostile: build ## Attack a gateway beside a healthy client, and measure 5,000 TLS connections (minutes; alone on the machine)
	$(GO) run ./e2e/hostile $(HOSTILEARGS)

.PHONY: plans
plans: ## See that PostgreSQL's plans of the policies use their indexes, with 1,000,000 rows (a minute)
	PLAN_ROWS=1000000 $(GO) test ./backend/store/postgres -run 'TestStore/plans' -v -count 1

# make leak
TENANTS ?= 20
MEMBERS ?= 10

.PHONY: leak
leak: ## Have users of TENANTS organisations ask for everything for a minute, and search all they get for others' texts
	$(GO) test ./e2e -run 'TestNoLeak$$' -v -count 1 -tenants $(TENANTS) -members $(MEMBERS) -leak-for 60s -leak-database postgres

.PHONY: sim
sim: ## Run the merge of boards with everything going wrong, by SEEDS seeds from FIRST on
	$(GO) test ./backend/sim -run 'TestSeeds$$' -v -timeout 0 -seeds $(SEEDS) -first $(FIRST)

.PHONY: bench-rewards
bench-rewards: ## Compare what PostgreSQL writes for rewards, one event in a transaction and 500, into bench/results; read leaderboards on a replica
	@mkdir -p bench/results
	$(GO) test ./backend/reward/postgres -run 'TestIO$$' -v -timeout 0 -io 20000 -io-out '$(CURDIR)/bench/results/rewards.md'
	$(GO) test ./backend/reward/postgres -run 'TestLeadersUnderLoad$$' -v -timeout 0 -leaders 1000000 -leader-reads 3000

.PHONY: faults-rewards
faults-rewards: ## Count EVENTS while workers, Redis and PostgreSQL are killed, and compare with an oracle
	$(GO) test ./e2e/rewards -run 'ExactlyOnce|Flushed' -v -timeout 0 -events $(EVENTS) -poison $(POISON) -fault-every $(EVERY)

.PHONY: rewards-load
rewards-load: ## Measure from event to ledger and to push, at RATE for a minute with WORKERS (alone on the machine)
	$(GO) test ./e2e/rewards -run Load -v -timeout 0 -rate $(RATE) -workers $(WORKERS)

.PHONY: rewards-highest
rewards-highest: ## Find the highest rate of events that WORKERS sustain, from 3,000 a second on (minutes; alone on the machine)
	$(GO) test ./e2e/rewards -run Load -v -timeout 0 -rate 3000 -rate-step 500 -load-for 15s -workers $(WORKERS)

.PHONY: bench
bench: ## Compare with a bare epoll loop and other servers, into bench/results (about 70 minutes)
	$(GO) run ./bench/cmd/bench $(BENCHARGS)

.PHONY: bench-quick
bench-quick: ## See that the comparison works: 2,000 connections, figures not to be believed (10 minutes)
	$(GO) run ./bench/cmd/bench --quick $(BENCHARGS)

# make bench-k6: --connections N, --most N, --seconds N, --quick
K6ARGS ?=

.PHONY: bench-k6
bench-k6: ## Compare the harness with k6, built from its module: memory a connection, CPU a delivery, into bench/results (6 minutes)
	$(GO) run ./bench/cmd/k6 $(K6ARGS)

# make bench-boards: BOARDARGS='-bench-only commit|snapshot|edit|api -bench-stores sqlite|postgres'
BOARDARGS ?=

.PHONY: bench-boards
bench-boards: ## Measure boards: group commit, a large board, edits and the HTTP API beside 5,000 connections; into bench/results (12 minutes)
	$(GO) test ./e2e -run 'TestBenchBoards$$' -v -count 1 -timeout 30m -bench-out '$(CURDIR)/bench/results/boards-$(shell date -u +%F).md' $(BOARDARGS)

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin .tmp

$(LINT):
	@echo "building golangci-lint $(LINT_VERSION), once (some minutes)"
	@mkdir -p .tmp/bin
	GOFLAGS= GOBIN='$(CURDIR)/.tmp/bin' $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv .tmp/bin/golangci-lint $@
