module github.com/avi-l4-operator/avi-l4-operator/test/install

go 1.26.0

require golang.org/x/mod v0.42.0
