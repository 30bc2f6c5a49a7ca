module github.com/kinglet-ml/kinglet/bindings/go

go 1.24
