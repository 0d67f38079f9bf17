.PHONY: build test ci bench

build: ## the binary, for this machine
	CGO_ENABLED=0 go build -trimpath -o statemesh ./cmd/statemesh

test: ## all tests, with the race detector (needs a C compiler)
	go test -race ./...

ci: ## what must pass before a change lands
	.ci/run

bench: ## measures everything and writes the tables of docs/benchmarks.md; about 45 minutes, 16 GB of memory
	go run ./cmd/benchreport
