// The simulated Controller has a module of its own so that "go install" can fetch its command: Go refuses that of a module whose go.mod
// replaces something, as the operator's does. So nothing is replaced here, and nothing of the operator's module is imported.
module github.com/avi-l4-operator/avi-l4-operator/pkg/avisim

go 1.26.0

require (
	github.com/KimMachineGun/automemlimit v0.7.5
	github.com/fxamacker/cbor/v2 v2.9.1
	github.com/gofrs/flock v0.13.0
	github.com/google/uuid v1.6.0
	github.com/pion/logging v0.2.4
	github.com/pion/sctp v1.12.1
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.10
	go.uber.org/goleak v1.3.0
	go.yaml.in/yaml/v3 v3.0.5
	golang.org/x/sys v0.48.0
	golang.org/x/time v0.16.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/pbnjay/memory v0.0.0-20210728143218-7b4eea64cf58 // indirect
	github.com/pion/randutil v0.1.0 // indirect
	github.com/pion/transport/v5 v5.1.4 // indirect
	github.com/x448/float16 v0.8.4 // indirect
)
