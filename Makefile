GO ?= go
PACKAGES = ./...

.PHONY: test race lint cover fuzz weeks survival bench soak latency screenshots image release

test: ## all tests; a test that needs a missing tool says how to install it
	$(GO) test $(PACKAGES)

# Without tests that wait for other programs, measure memory, or run the client as others do, but for minutes. Without
# those of the Helm chart, for which Helm would be compiled a second time.
SKIP = TestAlertNotifications|TestPagesInBrowser|TestPromtool|TestClientLoad|TestReliability|TestWeek|TestSharded
race:
	$(GO) test -race -skip '$(SKIP)' $$($(GO) list $(PACKAGES) | grep -v /test/chart$$)

lint:
	golangci-lint run

# The tests must cover 90 % of the statements of bunq/ and collector/.
cover:
	$(GO) test -skip TestWeek -coverpkg=./bunq,./collector -coverprofile=coverage.out ./bunq/... ./collector
	@$(GO) tool cover -func=coverage.out | awk '/^total:/ { print "coverage of bunq/ and collector/: " $$3; exit $$3 + 0 < 90 }'

# Runs each fuzz target for a time. An input that fails is written to the corpus in testdata/fuzz of its package.
FUZZTIME ?= 30s
fuzz:
	@set -e; grep -ro --include='*_test.go' '^func Fuzz[A-Za-z]*' . | while IFS=: read -r file target; do \
		$(GO) test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$(dirname "$$file")"; \
	done

# Kills processes at random moments of their registration, and makes their file system fail. Needs root.
TRIALS ?= 400
survival:
	TRIALS=$(TRIALS) $(GO) test -count=1 -v -timeout 60m -run 'Registrations|FileSystem|RegisterOnce' ./test

# Simulates weeks of the client at an API that fails at random. SEED is that of the first one.
WEEKS ?= 100
SEED ?= 1
weeks:
	$(GO) test -count=1 -timeout 24h -run TestWeek ./collector -weeks $(WEEKS) -seed $(SEED)

# The measurements of docs/performance.md. BENCHTIME=1x and a part of the limits only check that they run.
BENCHTIME ?= 2s
LIMITS ?= Limits|OtherAccounts
bench:
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./bunq ./collector
	$(GO) test -run '^$$' -bench Scrape -benchtime $(BENCHTIME) ./test
	$(GO) test -run '^$$' -bench Start -benchtime 20x ./test
	$(GO) test -run '^$$' -bench '$(LIMITS)' -benchtime 1x -timeout 30m ./test

# The load of docs/performance.md for a longer time. Needs 12,000 open files.
SOAK ?= 30m
soak:
	SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 -run TestClientLoad ./test

# The measurements of docs/alerting.md, which take half an hour.
latency:
	LATENCY=1 $(GO) test -count=1 -v -timeout 60m -run TestAlertLatency ./test

# The picture of the README.
screenshots:
	folder=$$(mktemp -d) && SCREENSHOTS=$$folder $(GO) test -count=1 -run TestPagesInBrowser ./test && \
	cp $$folder/status-desktop-light.png docs/status.png

IMAGE ?= bunq_exporter
image:
	buildah build --tag $(IMAGE) --build-arg VERSION=$$(git describe --tags --always | sed s/^v//) \
		--build-arg REVISION=$$(git rev-parse HEAD) .

# Everything that is released, in dist/.
release:
	goreleaser release --snapshot --clean
