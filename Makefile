GO ?= go
PACKAGES = ./...

.PHONY: test race lint cover survival image

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

image:
	buildah build --tag bunq_exporter .
