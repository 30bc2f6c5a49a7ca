module github.com/kinglet-ml/kinglet/examples/go-service

go 1.24

require github.com/kinglet-ml/kinglet/bindings/go v0.0.0

replace github.com/kinglet-ml/kinglet/bindings/go => ../../bindings/go
