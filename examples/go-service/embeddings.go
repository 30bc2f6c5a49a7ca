package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// embeddingRequest is OpenAI's, with text-embeddings-inference's "truncate".
type embeddingRequest struct {
	Model          string          `json:"model"`
	Input          json.RawMessage `json:"input"`
	EncodingFormat string          `json:"encoding_format"`
	Dimensions     *int            `json:"dimensions"`
	User           string          `json:"user"`
	// Truncate cuts texts that are too long instead of refusing them.
	Truncate bool `json:"truncate"`
}

func (s *service) embeddings(x *exchange, r *http.Request) error {
	x.texts = "input"
	body, err := readBody(x, r, s.config.maxBodyBytes)
	if err != nil {
		return err
	}
	request, err := decode[embeddingRequest](body)
	if err != nil {
		return err
	}
	m, err := x.models.find(request.Model, taskEmbed)
	if err != nil {
		return err
	}
	inputs, err := texts(request.Input, "input")
	if err != nil {
		return err
	}
	if request.Dimensions != nil && *request.Dimensions != m.properties.Dimension {
		return unsupported("dimensions", "%s has %d, which cannot be changed", m.name, m.properties.Dimension)
	}
	base64 := request.EncodingFormat == "base64"
	if !base64 && request.EncodingFormat != "" && request.EncodingFormat != "float" {
		return badRequest("encoding_format", "%q is neither \"float\" nor \"base64\"", request.EncodingFormat)
	}
	embeddings, err := s.embedTexts(r.Context(), x, m, "input", inputs, request.Truncate)
	if err != nil {
		return err
	}
	answer, err := embeddingAnswer(embeddings, m.name, x.input, base64)
	if err != nil {
		return err
	}
	return writeBody(x, http.StatusOK, "application/json", answer)
}

// embedTexts embeds the texts of the request's field param when it is the request's turn.
func (s *service) embedTexts(ctx context.Context, x *exchange, m *model, param string, inputs []string, truncate bool) (*kinglet.Embeddings, error) {
	release, err := s.admitTexts(ctx, x, m, param, len(inputs), inputs...)
	if err != nil {
		return nil, err
	}
	defer release()
	embeddings, err := m.Embed(ctx, inputs, nil)
	if err != nil {
		return nil, err
	}
	if !truncate {
		if err := refuseTruncated(m, param, orTruncate, embeddings.Truncated); err != nil {
			return nil, err
		}
	}
	for _, count := range embeddings.TokenCounts {
		x.input += count
	}
	return embeddings, nil
}

// admitTexts checks the number of a request's inputs and the tokens of all its texts, and waits for its turn.
func (s *service) admitTexts(ctx context.Context, x *exchange, m *model, param string, inputs int, texts ...string) (release func(), err error) {
	if err := s.checkCount(param, inputs); err != nil {
		return nil, err
	}
	tokens, err := s.countTokens(ctx, m, param, texts...)
	if err != nil {
		return nil, err
	}
	return s.admit(ctx, x, m, tokens)
}

// checkCount limits the number of texts in a request.
func (s *service) checkCount(param string, count int) error {
	if count > s.config.maxInputs {
		return badRequest(param, "has %d texts, and the server's -max-inputs is %d", count, s.config.maxInputs)
	}
	return nil
}

// embeddingAnswer writes JSON by hand: reflection would take longer for the numbers than the model takes for a short text.
func embeddingAnswer(embeddings *kinglet.Embeddings, name string, tokens int, inBase64 bool) ([]byte, error) {
	answer := make([]byte, 0, 256+embeddings.Len()*(64+12*embeddings.Dimension))
	answer = append(answer, `{"object":"list","data":[`...)
	var bytes []byte
	for i, vector := range embeddings.All() {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = append(answer, `{"object":"embedding","index":`...)
		answer = strconv.AppendInt(answer, int64(i), 10)
		answer = append(answer, `,"embedding":`...)
		if inBase64 {
			// As OpenAI's client reads it: little-endian float32.
			bytes = bytes[:0]
			for _, value := range vector {
				bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(value))
			}
			answer = append(answer, '"')
			answer = base64.StdEncoding.AppendEncode(answer, bytes)
			answer = append(answer, '"')
		} else {
			var err error
			if answer, err = appendFloats(answer, vector); err != nil {
				return nil, err
			}
		}
		answer = append(answer, '}')
	}
	model, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	answer = append(answer, `],"model":`...)
	answer = append(answer, model...)
	answer = append(answer, `,"usage":{"prompt_tokens":`...)
	answer = strconv.AppendInt(answer, int64(tokens), 10)
	answer = append(answer, `,"total_tokens":`...)
	answer = strconv.AppendInt(answer, int64(tokens), 10)
	return append(answer, "}}\n"...), nil
}

// appendFloats writes the shortest numbers that read back as the same float32.
func appendFloats(answer []byte, values []float32) ([]byte, error) {
	if slices.ContainsFunc(values, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }) {
		return nil, errAnswer
	}
	answer = append(answer, '[')
	for i, value := range values {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = strconv.AppendFloat(answer, float64(value), 'g', -1, 32)
	}
	return append(answer, ']'), nil
}
