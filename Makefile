GO ?= go
PACKAGES = ./...

.PHONY: test race lint cover survival bench accounts screenshots image

test: ## every test; those that need a tool that is not here say how to get it
	$(GO) test $(PACKAGES)

race:
	$(GO) test -race $(PACKAGES)

lint:
	golangci-lint run

# 90 % of the statements of bunq/ and collector/ must be run by the tests.
cover:
	$(GO) test -coverpkg=./bunq,./collector -coverprofile=coverage.out ./bunq/... ./collector
	@$(GO) tool cover -func=coverage.out | awk '/^total:/ { print "coverage of bunq/ and collector/: " $$3; exit $$3 + 0 < 90 }'

# Kills real processes at random instants of their registration, and lets their file system fail. As root.
TRIALS ?= 400
survival:
	TRIALS=$(TRIALS) $(GO) test -count=1 -v -run 'TestRegistrationSurvives|TestTwoProcesses' .

# The measurements of docs/performance.md. BENCHTIME=1x only shows that they can be made; JSON_EXPORTER names the binary to compare with.
BENCHTIME ?= 2s
bench:
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./bunq ./collector
	$(GO) test -run '^$$' -bench 'Scrape' -benchtime $(BENCHTIME) .
	$(GO) test -run '^$$' -bench 'Start|JSON' -benchtime 100x -v .
	$(GO) test -run '^$$' -bench 'Limits|Memory' -benchtime 1x -timeout 30m .

# Many accounts behind few addresses, on a virtual clock.
ACCOUNTS ?= 10000
accounts:
	ACCOUNTS=$(ACCOUNTS) $(GO) test -count=1 -v -timeout 60m -run 'ManyAccounts' ./bunq

# The pictures of the README.
screenshots:
	folder=$$(mktemp -d) && SCREENSHOTS=$$folder $(GO) test -count=1 -run TestPagesInABrowser . && \
	cp $$folder/landing-desktop-light.png docs/landing.png && cp $$folder/status-desktop-light.png docs/status.png

image:
	buildah build --tag bunq_exporter .
