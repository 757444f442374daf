// This module takes the place of github.com/golang/glog in the operator's build, by a replace in the main go.mod.
module github.com/golang/glog

go 1.26.0
