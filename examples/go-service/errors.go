package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// apiError is an error in OpenAI's JSON form, with its HTTP status.
type apiError struct {
	status int
	// kind is OpenAI's "type".
	kind string
	// code is for programs, for instance "model_not_found"; it may be empty.
	code string
	// param is the field of the request that is wrong; it may be empty.
	param   string
	message string
	// retryAfter, if not 0, goes to the header Retry-After.
	retryAfter time.Duration
	// cause is for the log, where the message does not say all.
	cause error
}

func (e *apiError) Error() string {
	if e.param != "" {
		return e.param + ": " + e.message
	}
	return e.message
}

func (e *apiError) Unwrap() error { return e.cause }

// MarshalJSON writes {"error": {...}}; fields that do not apply are null.
func (e *apiError) MarshalJSON() ([]byte, error) {
	orNull := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	type body struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	return json.Marshal(struct {
		Error body `json:"error"`
	}{body{e.Error(), e.kind, orNull(e.param), orNull(e.code)}})
}

// badRequest is an error of the request's field param.
func badRequest(param, format string, values ...any) *apiError {
	return &apiError{
		status: http.StatusBadRequest, kind: "invalid_request_error", param: param, message: fmt.Sprintf(format, values...),
	}
}

// unsupported refuses a field that is valid for OpenAI and not supported here.
func unsupported(param, format string, values ...any) *apiError {
	err := badRequest(param, format, values...)
	err.code = "unsupported_parameter"
	return err
}

// contextLengthExceeded is OpenAI's code for texts that are too long for a model or for the server.
const contextLengthExceeded = "context_length_exceeded"

func tooMany(retryAfter time.Duration, format string, values ...any) *apiError {
	return &apiError{
		status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "rate_limit_exceeded",
		message: fmt.Sprintf(format, values...), retryAfter: retryAfter,
	}
}

func unavailable(code, message string, retryAfter time.Duration) *apiError {
	return &apiError{
		status: http.StatusServiceUnavailable, kind: "server_error", code: code, message: message, retryAfter: retryAfter,
	}
}

// Why the contexts of requests end, besides a client that went away.
var (
	errTimeout  = errors.New("the request took longer than the server's -timeout")
	errShutdown = errors.New("the server is shutting down")
)

// statusClientClosed is the status in the log of a request whose client went away; nobody receives it.
const statusClientClosed = 499

// fields are the request's names where they differ from Hugging Face's, which the library uses.
var fields = map[string]string{
	"max_new_tokens":       "max_tokens",
	"min_new_tokens":       "min_tokens",
	"num_return_sequences": "n",
	"stop_strings":         "stop",
	"suppress_tokens":      "logit_bias",
	"grammar":              "response_format",
}

// argument is the field that a message of the library begins with: an option's name, as Go or as Hugging Face writes it.
func argument(message string) (param, rest string) {
	name, rest, found := strings.Cut(message, ": ")
	if !found || name == "" || strings.ContainsAny(name, " /.") {
		return "", message
	}
	snake := ""
	for i, c := range name {
		if unicode.IsUpper(c) {
			if i > 0 {
				snake += "_"
			}
			c = unicode.ToLower(c)
		}
		snake += string(c)
	}
	if mine, differs := fields[snake]; differs {
		return mine, rest
	}
	return snake, rest
}

// asAPIError turns any error of a request into the one that its client receives. The context is the request's.
func asAPIError(ctx context.Context, err error) *apiError {
	var api *apiError
	if errors.As(err, &api) {
		return api
	}
	var library *kinglet.Error
	switch {
	case errors.Is(err, kinglet.ErrCancelled) || ctx.Err() != nil:
		return ended(ctx, err)
	case errors.Is(err, kinglet.ErrInvalidArgument) && errors.As(err, &library):
		param, rest := argument(library.Message)
		return badRequest(param, "%s", rest)
	case errors.Is(err, kinglet.ErrUnsupported) && errors.As(err, &library):
		return badRequest("", "%s", library.Message)
	case errors.Is(err, kinglet.ErrOutOfMemory):
		api = unavailable("out_of_memory", "the model's memory limit is reached", 5*time.Second)
	case errors.Is(err, kinglet.ErrClosed):
		api = unavailable("shutting_down", errShutdown.Error(), time.Second)
	default:
		api = &apiError{
			status: http.StatusInternalServerError, kind: "server_error",
			message: "an error inside the server; its log has the details under this request's X-Request-Id",
		}
	}
	api.cause = err
	return api
}

// ended is the error of a request whose context has ended.
func ended(ctx context.Context, err error) *apiError {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errTimeout):
		return &apiError{
			status: http.StatusGatewayTimeout, kind: "server_error", code: "timeout", message: errTimeout.Error(), cause: err,
		}
	case errors.Is(cause, errShutdown):
		api := unavailable("shutting_down", errShutdown.Error(), time.Second)
		api.cause = err
		return api
	default:
		return &apiError{status: statusClientClosed, kind: "server_error", message: "the client went away", cause: err}
	}
}
