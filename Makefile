# The two commands are `make demo` and `make test`.
header:
	KINGLET_UPDATE_HEADER=1 cargo test --test header
.PHONY: header
