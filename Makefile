# Windtunnel. `make` lists what there is.

GO      ?= go
BIN     := bin
OUT     := out
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -s -w -X github.com/windtunnel-mesh/windtunnel/cli.buildVersion=$(VERSION)
# Where the programs spend their time; the compiler optimizes for it. `make profile` records it.
PROFILE := cmd/cpu.pgo
SOURCES := $(shell find . -name '*.go' -not -name '*_test.go' -not -path './out/*') $(shell find bookinfo reports -name '*.html' -o -name '*.css' -o -name '*.js') go.mod go.sum $(PROFILE)

.DEFAULT_GOAL := help

##@ Everyday

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: $(BIN)/windtunnel $(BIN)/meshd $(BIN)/meshproxy ## Build the three programs into bin/

$(BIN)/%: $(SOURCES)
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -pgo=$(PROFILE) -ldflags '$(LDFLAGS)' -o $@ ./cmd/$*

.PHONY: demo
demo: $(BIN)/windtunnel ## Build, run the bookinfo scenarios in the simulator, write out/demo/report.html
	$(BIN)/windtunnel run scenarios/bookinfo --out $(OUT)/demo

.PHONY: test
test: ## Run the unit tests
	$(GO) test -timeout 30m ./...

.PHONY: test-cluster
test-cluster: ## Run the tests that need a cluster, in that of $KUBECONFIG
	$(GO) test -tags=kind -count=1 -run InACluster -v ./cli

##@ Scenarios

.PHONY: e2e
e2e: ## Run every scenario in the simulator, twice each, as Ginkgo specs with JUnit
	@mkdir -p $(OUT)/e2e
	$(GO) run github.com/onsi/ginkgo/v2/ginkgo -p --procs=2 --tags=e2e --junit-report=junit.xml --output-dir=$(OUT)/e2e $(GINKGO) ./e2e

.PHONY: determinism
RUNS ?= 10
determinism: ## Run every scenario RUNS times, each in a process of its own on a busy machine: one seed, one trace; SCENARIOS='upload|grpc'
	$(GO) test -tags=determinism -count=1 -timeout 24h -parallel 2 -run '/$(SCENARIOS)' ./e2e/determinism -runs $(RUNS)

.PHONY: browser
browser: ## Open a report and the dashboard in Chromium: slider, live requests, dark mode, narrow screen, no network
	$(GO) test -tags=browser -count=1 ./reports/browser ./dashboard

.PHONY: loopback
loopback: $(BIN)/windtunnel ## Run the bookinfo scenarios on loopback sockets, in real time
	$(BIN)/windtunnel run scenarios/bookinfo --env loopback --out $(OUT)/loopback

.PHONY: netns
netns: ## Ask the kernel about the capture rules, and sidecars behind them on IPv4 and IPv6, in network namespaces (needs root)
	$(GO) test -tags netns ./mesh/capture/nft

##@ Images

.PHONY: images
images: ## Build the images windtunnel/{meshproxy,meshd,bookinfo,workload} with docker; GOARCH, VERSION
	VERSION=$(VERSION) OUT=$(OUT) images/build

.PHONY: kind-images
CLUSTER ?= kind
kind-images: ## Build the images, besides under the names that manifests have (images/played), and load them into the kind cluster CLUSTER
	VERSION=$(VERSION) OUT=$(OUT) images/build --played
	kind load docker-image --name $(CLUSTER) $$(VERSION=$(VERSION) images/build --names)

.PHONY: e2e-kind
e2e-kind: build ## Run the scenarios in a kind cluster, as Ginkgo specs: LAB=1 without a registry, KEEP=1 keeps it, SCENARIOS='scenarios/bookinfo --run jason'
	LAB=$(LAB) KEEP=$(KEEP) OUT=$(OUT) BIN=$(BIN) GINKGO='$(GINKGO)' kind/e2e $(or $(SCENARIOS),scenarios)

.PHONY: kind-smoke
kind-smoke: ## Build the lab where this machine can, and run a handful of scenarios in a kind cluster
	kind/smoke || [ $$? -eq 77 ]

##@ Quality

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not gofmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -tags=e2e,kind,browser,determinism ./...
	$(GO) tool staticcheck -tags=e2e,kind,browser,determinism ./...

.PHONY: race
race: ## Run the tests of the data plane and the virtual network under the race detector
	$(GO) test -race ./mesh/... ./sim/... ./load/...

.PHONY: fuzz
FUZZTIME ?= 30s
fuzz: ## Fuzz every parser for FUZZTIME each
	@for package in $$(git grep -l 'func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -ho 'func Fuzz[A-Za-z0-9]*' $$package/*_test.go | cut -c6-); do \
			$(GO) test ./$$package -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; \
	done

.PHONY: bench
bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./mesh/... ./sim/...

.PHONY: profile
profile: ## Record where the programs spend their time: forwarding, and the scenarios in the simulator
	@rm -rf $(OUT)/profile && mkdir -p $(OUT)/profile
	$(GO) test -run '^$$' -bench '^BenchmarkForward$$' -benchtime 20s -o $(OUT)/profile/test -cpuprofile $(OUT)/profile/forward.cpu ./mesh/proxy/engine
	$(GO) test -run '^$$' -bench '^BenchmarkProxy$$/^windtunnel$$' -benchtime 20s -o $(OUT)/profile/test -cpuprofile $(OUT)/profile/proxy.cpu ./mesh/proxy
	$(GO) test -tags=e2e -run '^TestScenarios$$' -o $(OUT)/profile/test -cpuprofile $(OUT)/profile/scenarios.cpu ./e2e -args -ginkgo.focus='^scenarios in the simulator simulator '
	$(GO) tool pprof -proto -output $(PROFILE) $(OUT)/profile/*.cpu

.PHONY: bench-compare
BASE ?= origin/main
BENCH ?= --matrix baseline,both --connections 16 --qps 1000,max --repeat 15
bench-compare: build ## Measure this tree against BASE, both builds interleaved on this machine; exit 4 where it got slower
	@rm -rf $(OUT)/base && git worktree prune && git worktree add --quiet --force --detach $(OUT)/base $(BASE)
	@trap 'git worktree remove --force $(OUT)/base' EXIT; \
	mkdir -p $(OUT)/compare/base && \
	$(MAKE) -C $(OUT)/base build BIN=$(abspath $(OUT))/compare/base && \
	$(BIN)/windtunnel bench run $(BENCH) --programs $(BIN) --against $(OUT)/compare/base --out $(OUT)/compare && \
	$(BIN)/windtunnel bench compare $(OUT)/compare/base.json $(OUT)/compare/bench.json --confirm $(OUT)/compare/base,$(BIN)

.PHONY: honesty
honesty: ## Real comparisons of a build with itself, and with one that was made a tenth slower (15 minutes)
	$(GO) test -tags honesty ./bench -run 'TestAPlantedSlowdownIsFound|TestABuildIsNoSlowerThanItself' -count 1 -v -timeout 60m

.PHONY: schema
schema: $(BIN)/windtunnel ## Write the scenario format's JSON Schema
	$(BIN)/windtunnel schema scenario > scenarios/scenario.v1.json

.PHONY: support
support: ## Write what is supported, docs/SUPPORT.md and docs/ENVOY.md
	$(GO) test ./mesh/build -run TestSupportPage -update
	$(GO) test ./mesh/xds/compile -run TestPage -update

.PHONY: findings
findings: ## Write what analyze finds, docs/ANALYZE.md
	$(GO) test ./mesh/analyze -run TestPage -update

.PHONY: results
results: ## Write the format of results.json, docs/RESULTS.md
	$(GO) test ./reports/result -run TestPage -update

.PHONY: catalogue
catalogue: $(BIN)/windtunnel ## Write the list of the scenarios, scenarios/README.md
	$(BIN)/windtunnel list scenarios -o markdown > scenarios/README.md

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN) $(OUT)
