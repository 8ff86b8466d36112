# Everything is done with Go alone; race and check also need a C compiler.
# A target says what it does in the comment behind its name: `make` prints them.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/drumline/drumline/config.version=$(VERSION)
GO ?= go

.DEFAULT_GOAL := help
.PHONY: help build gen gen-check lint test race sim mutations scale run rrseq bench bench-peers bench-peers-test check e2e e2e-long sleepers chaos cover tidy clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s%s\n", $$1, $$2}' Makefile

build: ## build all programs into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./tools/...

run: build ## run a whole cluster on this machine, with its example groups; Ctrl-C ends it
	bin/playground

test: ## run the quick tests (a few minutes)
	$(GO) test -timeout 10m ./...

race: ## run the quick tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 15m ./...

e2e: build ## run the end-to-end tests: real processes, killed for real (E2E_NO_NAMESPACES=1: without network namespaces)
	E2E_BIN=bin $(GO) test -tags e2e -count=1 -timeout 20m ./internal/e2e

e2e-long: build ## run the end-to-end tests that take long
	$(GO) test -tags e2elong -count=1 -timeout 30m ./statemachines/capacity
	E2E_BIN=bin $(GO) test -tags e2elong,e2e -count=1 -timeout 90m ./internal/e2e

rrseq: ## run rr_seq's own tests and benchmarks against a cluster in this process, in memory and on disk
	SEQ_LONG=1 $(GO) test -count=1 -cpu 1,4,8 ./client/sequence/rrseq
	SEQ_LONG=1 SEQ_FSYNC=1 $(GO) test -count=1 -cpu 1,4,8 ./client/sequence/rrseq
	$(GO) test -count=1 -run '^$$' -bench . -benchtime 0.5s -cpu 1,8,32 ./client/sequence/rrseq
	SEQ_FSYNC=1 $(GO) test -count=1 -run '^$$' -bench . -benchtime 0.5s -cpu 1,8,32 ./client/sequence/rrseq

sleepers: ## break a fleet of sleeping groups 200 times and see that none is left asleep
	RAFT_SLEEP_ROUNDS=200 $(GO) test -count=1 -timeout 60m -run TestNoGroupIsLeftAsleep -v ./internal/raft

sim: build ## run 100,000 schedules of the simulated cluster (about an hour)
	bin/drummer-cmd simulate --schedules 100000 --coverage

mutations: ## plant each bug of internal/mutant and see that the simulator finds it
	$(GO) test -tags mutation -count=1 -timeout 30m -run TestMutations -v ./drummer/sim

scale: ## measure the supervisor with 1,000 hosts and 100,000 groups in its memory
	SCALE_GROUPS=100000 $(GO) test -count=1 -timeout 20m -run TestScale -v ./drummer/sim

chaos: build ## break a cluster at random for a while and judge its histories
	bin/chaos

bench: build ## measure all tables of docs/performance.md (half an hour); bench-TABLE makes one
	bin/bench all --update docs/performance.md

bench-%: build
	bin/bench all --only $* --update docs/performance.md

# The comparison is a module of its own: nothing of etcd gets into go.mod, and neither
# build nor check fetches it. -mod=mod lets its go.mod follow ours.
PEERS := -C tools/bench/peers -mod=mod
bench-peers: build ## measure beside etcd, three members and three hosts, and write the table
	CGO_ENABLED=0 $(GO) build $(PEERS) -trimpath -o ../../../bin/bench-peers .
	bin/bench-peers --update docs/performance.md

bench-peers-test: build ## test that comparison
	$(GO) vet $(PEERS) ./... && $(GO) test $(PEERS) -count=1 ./...

lint: bin/golangci-lint bin/buf ## check style budgets, import rules and the wire's rules
	bin/golangci-lint run ./...
	cd drummerpb && ../bin/buf lint

gen: bin/buf bin/protoc-gen-go bin/protoc-gen-go-grpc ## generate Go from the .proto files
	cd drummerpb && ../bin/buf generate

gen-check: bin/buf bin/protoc-gen-go bin/protoc-gen-go-grpc ## fail if generated code is not what gen makes
	rm -rf bin/gen && cd drummerpb && ../bin/buf generate -o ../bin/gen
	diff -r -x '*.proto' -x '*.yaml' -x '*_test.go' bin/gen drummerpb && rm -rf bin/gen

check: ## run all that CI runs
	.ci/run

cover: ## measure how much of the code the quick tests run
	$(GO) test -timeout 10m -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out | tail -1

tidy: bin/golangci-lint ## put go.mod and the formatting in order
	$(GO) mod tidy
	bin/golangci-lint fmt

clean: ## remove what was built; clusters under run/ stay
	rm -rf bin dist coverage.*

# Development tools have module files of their own, so that nothing of them gets
# into go.mod; each is built when it is first needed.
bin/buf: internal/devtools/buf.mod
	$(GO) build -modfile=$< -o $@ github.com/bufbuild/buf/cmd/buf
bin/golangci-lint: internal/devtools/lint.mod
	$(GO) build -modfile=$< -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
bin/protoc-gen-go: internal/devtools/gen.mod
	$(GO) build -modfile=$< -o $@ google.golang.org/protobuf/cmd/protoc-gen-go
bin/protoc-gen-go-grpc: internal/devtools/gen.mod
	$(GO) build -modfile=$< -o $@ google.golang.org/grpc/cmd/protoc-gen-go-grpc
