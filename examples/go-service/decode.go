package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// bodyTimeout is how long a client may take to send its body.
const bodyTimeout = 30 * time.Second

// readBody reads a JSON body of at most `limit` bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	// A page of another origin cannot send this type without asking first, so it cannot use a service on localhost.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &apiError{
			status: http.StatusUnsupportedMediaType, kind: "invalid_request_error", param: "Content-Type",
			message: "must be application/json",
		}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &apiError{
			status: http.StatusUnsupportedMediaType, kind: "invalid_request_error", param: "Content-Encoding",
			message: "is not supported; send the body as it is",
		}
	}
	connection := http.NewResponseController(w)
	// Errors mean that the connection has no deadlines, as in tests without one.
	_ = connection.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	// The server keeps reading, to notice a client that goes away; a deadline would end the request.
	_ = connection.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &apiError{
			status: http.StatusRequestEntityTooLarge, kind: "invalid_request_error", code: "request_too_large",
			message: "the body is larger than " + size(limit) + ", the server's -max-body-bytes",
		}
	}
	if err != nil {
		return nil, &apiError{
			status: http.StatusBadRequest, kind: "invalid_request_error", message: "the body could not be read", cause: err,
		}
	}
	return body, nil
}

// decode reads a JSON object. Unknown fields are refused by name, so that no option is ignored in silence; a field that is null counts as
// absent, known or not, because clients send back what they received.
func decode[T any](body []byte) (*T, error) {
	// The decoder would put replacement characters in the place of such bytes.
	if !utf8.Valid(body) {
		return nil, badRequest("", "the body is not UTF-8")
	}
	value := new(T)
	err := strict(body, value)
	if err != nil && strings.HasPrefix(err.Error(), unknownField) {
		var tree any
		numbers := json.NewDecoder(bytes.NewReader(body))
		numbers.UseNumber()
		if numbers.Decode(&tree) == nil {
			if body, encoded := json.Marshal(withoutNulls(tree)); encoded == nil {
				value = new(T)
				err = strict(body, value)
			}
		}
	}
	if err != nil {
		return nil, decodeError(err)
	}
	return value, nil
}

// unknownField is how encoding/json begins the message for a field that the struct does not have; it has no type for it.
const unknownField = "json: unknown field "

func strict(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return badRequest("", "the body has something after its JSON object")
	}
	return nil
}

func withoutNulls(tree any) any {
	switch tree := tree.(type) {
	case map[string]any:
		for name, value := range tree {
			if value == nil {
				delete(tree, name)
			} else {
				tree[name] = withoutNulls(value)
			}
		}
	case []any:
		for i, value := range tree {
			tree[i] = withoutNulls(value)
		}
	}
	return tree
}

func decodeError(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		if kind.Field == "" {
			return badRequest("", "the body is of type %s, and an object is expected", kind.Value)
		}
		// Structs that others embed are in the path.
		return badRequest(strings.TrimPrefix(kind.Field, "sampling."), "is of type %s, and %s is expected", kind.Value, expected(kind.Type.Kind().String()))
	case strings.HasPrefix(err.Error(), unknownField):
		name := strings.Trim(strings.TrimPrefix(err.Error(), unknownField), `"`)
		return unsupported(name, "the field is not known or not supported")
	case errors.As(err, &syntax):
		return badRequest("", "the body is not JSON: %s at byte %d", syntax.Error(), syntax.Offset)
	case errors.Is(err, io.EOF):
		return badRequest("", "the body is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("", "the body is not JSON: it ends in the middle")
	}
	return err
}

// expected names a kind of Go value in JSON's words.
func expected(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "an integer"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "bool":
		return "true or false"
	case kind == "string":
		return "a string"
	case kind == "slice":
		return "an array"
	}
	return "an object"
}

// absent says whether a field is missing or null.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// texts reads a field that is a string or an array of strings.
func texts(raw json.RawMessage, param string) ([]string, error) {
	if absent(raw) {
		return nil, badRequest(param, "is missing")
	}
	switch raw[0] {
	case '"':
		var one string
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, badRequest(param, "%s", err)
		}
		return []string{one}, nil
	case '[':
		var many []json.RawMessage
		if err := json.Unmarshal(raw, &many); err != nil {
			return nil, badRequest(param, "%s", err)
		}
		if len(many) == 0 {
			return nil, badRequest(param, "is empty")
		}
		all := make([]string, len(many))
		for i, text := range many {
			switch {
			case text[0] == '"':
				if err := json.Unmarshal(text, &all[i]); err != nil {
					return nil, badRequest(param, "%s", err)
				}
			case text[0] == '[' || text[0] == '-' || text[0] >= '0' && text[0] <= '9':
				return nil, unsupported(param, "token ids are not supported; send strings")
			default:
				return nil, badRequest(param, "element %d is not a string", i)
			}
		}
		return all, nil
	}
	return nil, badRequest(param, "must be a string or an array of strings")
}
