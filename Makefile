# SPDX-License-Identifier: Apache-2.0

# Everything here needs the Go toolchain and nothing else, but for what says so. Tools and the programs of the local
# cluster are built from Go modules under hack/ when they are missing.

IMG           ?= avi-l4-operator:latest
SIMULATOR_IMG ?= avi-l4-simulator:latest
# Platforms of the images, such as linux/amd64,linux/arm64; empty: this machine's. Several need a builder that can push.
PLATFORMS     ?=
CONTAINER_TOOL ?= docker
KUBECTL       ?= kubectl
# What the bundle for the Operator Lifecycle Manager runs, and the image that the bundle is put in.
OLM_IMG       ?= avi-l4-operator:$(VERSION)
BUNDLE_IMG    ?= avi-l4-operator-bundle:$(VERSION)
# What image names begin with in a release, such as registry.example.com/avi; empty: nothing.
REGISTRY      ?=
# Where the local cluster keeps its state.
CLUSTER_DIR   ?= .local/cluster
NODES         ?= 3
# Of the release, and the commit that images and binaries are made from; the number is in this file alone.
VERSION  := $(shell cat internal/version/VERSION)
REVISION := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# How many packages' tests run at once: each may start a cluster of five processes.
TEST_PARALLEL ?= 2

# gRPC's page of its own traces needs templates, and a program with templates keeps every method of its types: a fifth of its size.
TAGS := grpcnotrace

CHART := charts/avi-l4-operator
BIN := $(CURDIR)/bin
CONTROLLER_GEN := $(BIN)/controller-gen
KUSTOMIZE      := $(BIN)/kustomize
HUGO           := $(BIN)/hugo
GOLANGCI_LINT  := $(BIN)/golangci-lint

# The race detector needs cgo, and that a C compiler; without one the tests run all the same.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# Builds the cluster's programs when they are missing, with progress, and tells envtest where they are.
WITH_BINARIES = assets="$$(go run ./hack/local-cluster build)"; export KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$assets}";

CONTAINER_BUILD = $(CONTAINER_TOOL) build $(if $(PLATFORMS),--platform=$(PLATFORMS)) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION)

# Tests that need what the operator does not are modules of their own.
TEST_MODULES := $(patsubst %/go.mod,%,$(wildcard test/*/go.mod))
# The simulator is one, too, and those that ask for it say which release of it.
SIMULATOR_MODULE := github.com/avi-l4-operator/avi-l4-operator/pkg/avisim
SIMULATOR_USERS = $(dir $(shell grep -l '$(SIMULATOR_MODULE) v' go.mod test/*/go.mod hack/tools/*/go.mod))

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

##@ General

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make \033[36m<target>\033[0m\n"} \
		/^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-zA-Z_-]+:.*##/ {printf "  \033[36m%-20s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: ## Run cluster, simulator and operator, and tell a story with them (KEEP=1 leaves them running).
	go run ./hack/demo

.PHONY: cluster-up
cluster-up: ## Start a local cluster in the background (NODES=3).
	go run ./hack/local-cluster start --detach --dir $(CLUSTER_DIR) --nodes $(NODES)

.PHONY: cluster-down
cluster-down: ## Stop the local cluster and forget its state.
	go run ./hack/local-cluster stop --delete --dir $(CLUSTER_DIR)

.PHONY: simulator
simulator: ## Run a simulated Avi Controller on 127.0.0.1:9443, with its page on http://127.0.0.1:9444/; its CA is in .local/avisim-ca.crt.
	mkdir -p .local
	go run ./cmd/avisim --ca-file .local/avisim-ca.crt --control-addr 127.0.0.1:9444

.PHONY: simulator-certificate
simulator-certificate: ## Make the certificate of config/components/simulator in .local/simulator, and tell what to do with it.
	go run ./cmd/avisim --make-certificate .local/simulator \
		--host-names avi-l4-simulator,avi-l4-simulator.avi-l4-system,avi-l4-simulator.avi-l4-system.svc,avi-l4-simulator.avi-l4-system.svc.cluster.local
	@echo "$(KUBECTL) -n avi-l4-system create secret tls avi-simulator-tls --cert .local/simulator/tls.crt --key .local/simulator/tls.key"
	@echo "$(KUBECTL) -n avi-l4-system create secret generic avi-secret --from-literal username=admin --from-literal password=... --from-file certificateAuthorityData=.local/simulator/ca.crt"

.PHONY: run
run: ## Run the operator on the cluster of the current kubeconfig, with settings from namespace avi-l4-system (ARGS=...).
	go run . --namespace avi-l4-system --zap-encoder console --metrics-secure=false --metrics-bind-address 127.0.0.1:8080 $(ARGS)

##@ Build

.PHONY: build
build: ## Build the operator, the simulator and the kubectl plugin into bin/.
	CGO_ENABLED=0 go build -trimpath -tags $(TAGS) -o $(BIN)/avi-l4-operator .
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/avisim ./cmd/avisim
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(BIN)/kubectl-avi_l4 ./cmd/kubectl-avi_l4

.PHONY: docker-build
docker-build: ## Build both images (needs docker; IMG, SIMULATOR_IMG, PLATFORMS, CONTAINER_TOOL).
	$(CONTAINER_BUILD) --target operator -t $(IMG) .
	$(CONTAINER_BUILD) --target avisim -t $(SIMULATOR_IMG) .

# The image is set in an overlay, so that no file under version control changes. A colon before the last slash is a port's.
.PHONY: build-installer
build-installer: $(KUSTOMIZE) ## Write all that an installation needs to dist/install.yaml (IMG), and beside it what some clusters lack.
	@mkdir -p dist
	@name='$(IMG)' tag=latest; if [[ "$${name##*/}" == *:* ]]; then tag="$${name##*:}" name="$${name%:*}"; fi; \
		printf 'resources:\n- ../config/default\nimages:\n- name: avi-l4-operator\n  newName: "%s"\n  newTag: "%s"\nlabels:\n- includeTemplates: true\n  pairs:\n    app.kubernetes.io/version: "%s"\n' "$$name" "$$tag" '$(VERSION)' > dist/kustomization.yaml
	$(KUSTOMIZE) build dist > dist/install.yaml
	$(KUSTOMIZE) build config/components/services-api > dist/services-api-crds.yaml

# Not among the tools that are built once: its own code changes with the repository.
.PHONY: bundle
bundle: $(KUSTOMIZE) ## Write bundle/ and catalog/ for the Operator Lifecycle Manager, and validate them (OLM_IMG, BUNDLE_IMG).
	cd hack/tools/olm-bundle && go build -o $(BIN)/olm-bundle .
	$(KUSTOMIZE) build config/olm | $(BIN)/olm-bundle -version $(VERSION) -image $(OLM_IMG) -bundle-image $(BUNDLE_IMG)

##@ Release (needs no container engine)

RELEASE_DIR     = dist/release-$(VERSION)
IMAGE_PREFIX    = $(if $(REGISTRY),$(REGISTRY:/=)/)
RELEASE         = $(BIN)/release
IMAGE_PLATFORMS = $(or $(PLATFORMS),linux/amd64$(comma)linux/arm64)
comma := ,

# Not among the tools that are built once: its own code changes with the repository.
.PHONY: release-tool
release-tool:
	cd hack/tools/release && go build -o $(RELEASE) .

.PHONY: images
images: release-tool ## Write the images of operator and simulator to dist/ as OCI archives (PLATFORMS, REGISTRY), with Go alone.
	$(RELEASE) images -out dist -platforms $(IMAGE_PLATFORMS) -registry '$(REGISTRY)'

.PHONY: push-images
push-images: images ## Send both images to a registry (REGISTRY=registry.example.com/avi), with the login of docker or podman.
	@test -n '$(REGISTRY)' || { echo "REGISTRY=... is needed"; exit 1; }
	@for image in avi-l4-operator avi-l4-simulator; do $(RELEASE) push -archive dist/$$image-$(VERSION).oci.tar -to $(IMAGE_PREFIX)$$image:$(VERSION); done

# From what is committed alone, and into a folder that is made anew, so that the checksums cover all of it and nothing else.
.PHONY: release
release: release-tool $(KUSTOMIZE) ## Write everything that a release has to dist/release-VERSION (VERSION=0.3.0, REGISTRY).
	rm -rf '$(RELEASE_DIR)' dist/olm dist/*.yaml && mkdir -p '$(RELEASE_DIR)'
	$(MAKE) build-installer IMG=$(IMAGE_PREFIX)avi-l4-operator:$(VERSION)
	cd hack/tools/olm-bundle && go build -o $(BIN)/olm-bundle .
	mkdir -p dist/olm && cp -r catalog dist/olm/
	$(KUSTOMIZE) build config/olm | $(BIN)/olm-bundle -version $(VERSION) -image $(IMAGE_PREFIX)avi-l4-operator:$(VERSION) \
		-bundle-image $(IMAGE_PREFIX)avi-l4-operator-bundle:$(VERSION) -bundle dist/olm/bundle -catalog dist/olm/catalog -dockerfile dist/olm/bundle.Dockerfile
	$(RELEASE) all -version '$(VERSION)' -manifests dist -out '$(RELEASE_DIR)' -platforms $(IMAGE_PLATFORMS) -registry '$(REGISTRY)'

##@ Test

# Integration tests that run every controller and every way to stop and start, for the race detector: all would take a quarter of an hour.
RACED = ^Test(ServiceFromCreation|GatewayFromCreation|SharedVIPStory|RoutedGatewayStatus|RoutedClass$$|RuleOfAService|InfraSettingChange|NodePortFollows|$\
	SourceRangesFollow|SessionAffinity$$|ControllerDownAndBack|Drift|SweptOnce|TwoClusters|TwoInstances|DeleteConfig|CredentialsRotate|CRDsRemoved|CrashAfterEachStep)

.PHONY: test
test: vet ## Run every test, with the race detector where goroutines are made; builds the cluster's programs first, which takes minutes once.
	$(if $(RACE),,@echo "no C compiler: testing without the race detector")
	$(WITH_BINARIES) go test $(RACE) -p $(TEST_PARALLEL) -timeout 30m $$(go list ./... | grep -v -e /test/golden -e /test/integration)
	$(if $(RACE),go test -run Matrix ./controllers) # above, with the race detector, only a few of their cells
	go test ./test/golden # one goroutine, and seven times as slow with the race detector
	$(WITH_BINARIES) go test -timeout 30m ./test/integration $(if $(RACE),&& go test $(RACE) -timeout 30m -run '$(RACED)' ./test/integration)
	cd pkg/avisim && go test $(RACE) -p $(TEST_PARALLEL) -timeout 30m ./...
	cd test/install && go test -count=1 . # what it reads lies outside of its module, where the cache of results doesn't look
	cd hack/tools/olm-bundle && go test ./...
	cd hack/tools/release && go test ./...
	cd hack/tools/govulncheck && go test ./...
	cd hack/tools/monitoring && go test -count=1 ./... # the same
	cd hack/tools/pictures && go test -count=1 ./... # the same
	$(MAKE) test-explain test-helm test-browser

.PHONY: test-race
test-race: ## Run all integration tests with the race detector, which takes a quarter of an hour.
	$(WITH_BINARIES) go test -race -timeout 60m ./test/integration

.PHONY: test-explain
test-explain: ## Hold what users read about broken input to exact texts (its module is test/explain; -update writes them).
	$(WITH_BINARIES) cd test/explain && go test $(RACE) -timeout 10m -parallel 8 .

.PHONY: test-helm
test-helm: $(KUSTOMIZE) ## Lint, render and install the Helm chart, and compare it with what kustomize makes (its module is test/helm).
	$(WITH_BINARIES) cd test/helm && go test -timeout 10m .

.PHONY: test-browser
test-browser: ## Drive the simulator's page in a headless Chromium (its module is test/browser); installs Debian's chromium if there is none.
	@hack/install-chromium.sh
	cd test/browser && go test -count=1 -timeout 10m .

.PHONY: test-unit
test-unit: ## Run the tests that start no cluster.
	go test $(RACE) $$(go list ./... | grep -v -e '/hack/' -e '/test/') ./test/docs/... ./test/golden/... ./test/imports/...
	cd pkg/avisim && go test $(RACE) ./...

.PHONY: test-sdk
test-sdk: ## Run the vendor's own tests of its SDK against the simulator, replay its recordings, and list what is left out.
	go test -count=1 -v ./test/alb-sdk/ | grep -v -e '^=== '

.PHONY: conformance
conformance: ## Run those of the Gateway API's own tests that layer 4 alone can pass, with traffic, and list the rest (REPORT=file: upstream's report).
	$(WITH_BINARIES) export AVI_CONFORMANCE_REPORT='$(abspath $(REPORT))'; cd test/conformance && go test -count=1 -timeout 30m -v -run TestConformance . | grep -v '^cluster'

.PHONY: bench
bench: ## Measure the operator against the simulator, and print a table (BENCH_JSON=file writes it there, too).
	$(WITH_BINARIES) BENCH_JSON='$(abspath $(BENCH_JSON))' go test -run '^$$' -bench . -benchtime 1x -timeout 60m ./test/bench/...
	AVISIM_MEMORY_GOAL=1 go test -count=1 -timeout 30m -v -run 'TestMemory$$' ./cmd/avisim

.PHONY: pgo
pgo: ## Write a profile of the processor's use while Services are made to bin/operator.pgo, for go build -pgo=bin/operator.pgo .
	$(WITH_BINARIES) BENCH_PROFILE=$(BIN)/operator.pgo go test -run '^$$' -bench 'Operator$$' -benchtime 1x -timeout 20m ./test/bench/

.PHONY: bench-compare
bench-compare: ## Measure the operator of another revision (REV=) and this one in turn, and print ratios.
	@test -n "$(REV)" || { echo "usage: make bench-compare REV=<commit>"; exit 1; }
	@rm -rf $(BIN)/base && mkdir -p $(BIN)/base && git archive $(REV) | tar -x -C $(BIN)/base
	$(MAKE) -C $(BIN)/base build # as that revision builds it
	$(WITH_BINARIES) BENCH_BASE=$(BIN)/base/bin/avi-l4-operator go test -run '^$$' -bench 'Operator$$' -benchtime 1x -timeout 120m ./test/bench/

.PHONY: bench-rival
bench-rival: ## Measure another controller (RIVAL="command") and this one in turn, on the same simulator and cluster, with the same probes.
	@test -n "$(RIVAL)" || { echo 'usage: make bench-rival RIVAL="command"; see docs/scaling.md'; exit 1; }
	$(WITH_BINARIES) BENCH_RIVAL="$(RIVAL)" go test -run '^$$' -bench 'Operator$$' -benchtime 1x -timeout 180m ./test/bench/

.PHONY: fuzz
fuzz: ## Fuzz each parser and translation in turn, FUZZTIME=30s each; make test plays the corpus that is checked in.
	@grep -ro 'func Fuzz[A-Za-z]*' --include=*_test.go internal pkg | sed 's/:func / /' | while read -r file name; do echo "$$file $$name"; \
		(cd $$(dirname $$file) && go test . -run '^$$' -fuzz "^$$name$$" -fuzztime $(or $(FUZZTIME),30s)) | tail -20; done

.PHONY: soak
soak: ## Change Services 50 times a second for MINUTES=10: then nothing fails, and memory and goroutines have not grown.
	$(WITH_BINARIES) AVI_SOAK=$(or $(MINUTES),10)m go test -count=1 -v -timeout $$(( $(or $(MINUTES),10) + 10 ))m -run 'TestSoak$$' ./test/integration/

.PHONY: outage
outage: ## Have the Controller away for MINUTES=10 while OWNERS=5000 Services change: hardly a call meanwhile, all right within a minute after.
	$(WITH_BINARIES) AVI_OWNERS=$(or $(OWNERS),5000) AVI_OUTAGE=$(or $(MINUTES),10)m go test -count=1 -v -timeout 60m -run 'TestOutage$$' ./test/integration/

.PHONY: chaos
chaos: ## Play all cells of the matrices, remove each right, then stop, continue and depose leaders under churn, 100 rounds (ROUNDS=...): half an hour.
	AVI_MATRIX=all go test -count=1 -v -timeout 30m -run Matrix ./controllers
	$(WITH_BINARIES) AVI_RIGHTS=all go test -count=1 -v -timeout 20m -run TestEachRight ./test/integration/
	$(WITH_BINARIES) AVI_CHAOS_ROUNDS=$(or $(ROUNDS),100) go test -count=1 -v -timeout 120m -run TestFencing ./test/e2e/

.PHONY: vet
vet: ## Run go vet, also in the other modules that have code.
	go vet ./...
	@for module in pkg/avisim $(TEST_MODULES) hack/tools/monitoring hack/tools/pictures hack/tools/olm-bundle hack/tools/release hack/tools/govulncheck; do echo "go vet: $$module"; (cd $$module && go vet ./...); done

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters.
	$(GOLANGCI_LINT) run ./...
	cd pkg/avisim && $(GOLANGCI_LINT) run ./...

.PHONY: verify
verify: generate bundle ## Fail if a generated file, a go.mod or the formatting is not current, a licence is missing, or a vulnerability is known.
	git diff --exit-code -- config/rbac config/crd config/components $(CHART) bundle bundle.Dockerfile catalog ':(glob)api/**/zz_generated.*' pkg/avisim/schema/schema.txt
	@new="$$(git ls-files --others --exclude-standard -- config/rbac config/crd config/components $(CHART) bundle bundle.Dockerfile catalog ':(glob)api/**/zz_generated.*')"; if [ -n "$$new" ]; then echo "generated, but not checked in: $$new"; exit 1; fi
	@for module in . pkg/avisim hack/cluster/binaries hack/tools/*/ $(TEST_MODULES); do echo "go mod tidy: $$module"; (cd $$module && go mod tidy -diff); done
	go run ./hack/spdx
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted"; exit 1; fi
	@$(MAKE) --no-print-directory govulncheck

.PHONY: govulncheck
govulncheck: ## Fail if operator or simulator call code with a known vulnerability that a newer dependency is without, and tell of others.
	@cd hack/tools/govulncheck && go build -o $(BIN)/govulncheck .
	$(BIN)/govulncheck
	$(BIN)/govulncheck -C pkg/avisim

.PHONY: docs
docs: $(HUGO) ## Make a site of README.md and docs/ in dist/site, and fail if a link leads nowhere.
	$(HUGO) build --source hack/site --destination $(CURDIR)/dist/site --cleanDestinationDir --noBuildLock --quiet --panicOnWarning
	@echo "dist/site/index.html"

.PHONY: docs-serve
docs-serve: $(HUGO) ## Show the site on http://localhost:1313 while the documents change.
	$(HUGO) server --source hack/site --bind 127.0.0.1 --renderToMemory --noBuildLock

# For a person to run, and to look at, when something that is seen has changed.
.PHONY: pictures
pictures: ## Make the pictures of the documentation in docs/images, five minutes of a running operator (ONLY=dashboard,page,plugin,scaling).
	@hack/install-chromium.sh
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/kubectl-avi_l4 ./cmd/kubectl-avi_l4
	cd hack/tools/pictures && go build -o $(BIN)/pictures .
	$(WITH_BINARIES) $(BIN)/pictures -only '$(ONLY)'

##@ Generate

.PHONY: generate
generate: deepcopy manifests schema dashboard chart versions ## Generate all that is generated.

# Before the manifests: the operator's code compiles only with it.
.PHONY: deepcopy
deepcopy: $(CONTROLLER_GEN) ## Generate the deep copies of the types in api/.
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: manifests
manifests: $(CONTROLLER_GEN) ## Generate the role from the markers in controllers/, and the CRDs from the types in api/.
	$(CONTROLLER_GEN) rbac:roleName=operator paths=./controllers/... output:rbac:dir=config/rbac
	$(CONTROLLER_GEN) crd paths=./api/ako/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) crd paths=./api/networking/... output:crd:dir=config/components/services-api

# The chart's templates start from what kustomize makes, so that both ways of installing give the same.
.PHONY: chart
chart: manifests dashboard $(KUSTOMIZE) ## Put what kustomize makes of config/, and the version, into the Helm chart.
	@mkdir -p $(CHART)/files/crds
	{ echo '# SPDX-License-Identifier: Apache-2.0'; $(KUSTOMIZE) build config/operator; } > $(CHART)/files/operator.yaml
	{ echo '# SPDX-License-Identifier: Apache-2.0'; $(KUSTOMIZE) build config/components/monitoring; echo ---; \
		$(KUSTOMIZE) build config/components/grafana-dashboard; echo ---; cat config/components/pod-monitor/pod_monitor.yaml; } \
		> $(CHART)/files/monitoring.yaml
	cp config/crd/user_roles.yaml $(CHART)/files/
	cp config/components/plan-reader/roles.yaml $(CHART)/files/plan_reader.yaml
	rm -f $(CHART)/files/crds/* && cp config/crd/bases/*.yaml $(CHART)/files/crds/
	@sed -E 's/^(version|appVersion): .*/\1: $(VERSION)/' $(CHART)/Chart.yaml > $(CHART)/Chart.yaml.new && mv $(CHART)/Chart.yaml.new $(CHART)/Chart.yaml

.PHONY: versions
versions: ## Put the release's number into the modules that ask for the simulator's.
	@for module in $(SIMULATOR_USERS); do (cd $$module && go mod edit -require=$(SIMULATOR_MODULE)@v$(VERSION)); done

.PHONY: dashboard
dashboard: ## Generate the dashboard for Grafana from hack/tools/monitoring.
	cd hack/tools/monitoring && go run . -out ../../../config/components/grafana-dashboard/dashboard.json

.PHONY: schema
schema: ## Generate the simulator's table of object types from the API's schema, which the alb-sdk module carries.
	go run ./hack/avisim-schema

.PHONY: spdx
spdx: ## Add the licence's identifier to the files that lack it.
	go run ./hack/spdx -add

.PHONY: tools
tools: $(CONTROLLER_GEN) $(KUSTOMIZE) $(GOLANGCI_LINT) ## Build the development tools into bin/.

# A tool's version is in its module, so a change of that module is what makes a built one old.
$(CONTROLLER_GEN) $(KUSTOMIZE) $(GOLANGCI_LINT) $(HUGO): $(BIN)/%: hack/tools/%/go.mod hack/tools/%/go.sum
	@echo "building $* (once)"
	cd hack/tools/$* && go build -o $(BIN)/ tool
	@touch $@

##@ Deploy (to the cluster of the current kubeconfig; needs kubectl)

.PHONY: install
install: $(KUSTOMIZE) ## Install the CRDs, and the rights of their users.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) apply --server-side -f -

# Created, never applied: what AKO or upstream put there stays as it is.
.PHONY: install-services-api
install-services-api: ## Install those CRDs of networking.x-k8s.io that the cluster does not have.
	@for crd in gatewayclasses gateways; do \
		if [ -n "$$($(KUBECTL) get crd "$$crd.networking.x-k8s.io" --ignore-not-found -o name)" ]; then echo "$$crd.networking.x-k8s.io is there already: left as it is"; \
		else $(KUBECTL) create -f "config/components/services-api/networking.x-k8s.io_$$crd.yaml"; fi; done

.PHONY: uninstall
uninstall: $(KUSTOMIZE) ## Remove the CRDs, and with them every AviInfraSetting of the cluster, AKO's too.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy
deploy: build-installer ## Install the operator (IMG). Its ConfigMap and Secret are yours to make: see config/samples.
	$(KUBECTL) apply --server-side -f dist/install.yaml

# Not the CRDs: their objects, which may be AKO's as well, would go with them. The roles of their users stay, too.
.PHONY: undeploy
undeploy: $(KUSTOMIZE) ## Remove the operator. Services keep its finalizer: set deleteConfig "true" first and wait.
	@mkdir -p dist/undeploy
	@printf 'resources:\n- ../../config/namespace\n- ../../config/operator\n' > dist/undeploy/kustomization.yaml
	$(KUSTOMIZE) build dist/undeploy | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: clean
clean: ## Remove what was built, but for the cluster's programs (rm -rf bin/kube removes those).
	rm -rf dist $(BIN)/avi-l4-operator $(BIN)/avisim $(BIN)/pictures $(BIN)/olm-bundle $(BIN)/release $(BIN)/govulncheck $(CONTROLLER_GEN) $(KUSTOMIZE) $(GOLANGCI_LINT)
