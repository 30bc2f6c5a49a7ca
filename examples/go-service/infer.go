package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// The Open Inference Protocol (KServe's V2 protocol) over HTTP, in its JSON form. Texts are tensors of BYTES. A model's first task is what
// it computes; "outputs" in a request names another one.

// tensor is an input or output of a model.
type tensor struct {
	Name       string          `json:"name"`
	Shape      []int           `json:"shape"`
	Datatype   string          `json:"datatype"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data"`
}

// tensorKind describes one in a model's metadata; -1 is any number.
type tensorKind struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"`
}

type inferRequest struct {
	ID         string          `json:"id"`
	Parameters json.RawMessage `json:"parameters"`
	Inputs     []tensor        `json:"inputs"`
	Outputs    []struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"outputs"`
}

type inferAnswer struct {
	ModelName string   `json:"model_name"`
	ID        string   `json:"id,omitempty"`
	Outputs   []tensor `json:"outputs"`
}

// inferParameters are the options of a request: those of completions, and "truncate".
type inferParameters struct {
	sampling
	Truncate bool `json:"truncate"`
}

// The names of tensors.
const (
	inputText   = "text"
	inputQuery  = "query"
	datatypeRaw = "BYTES"
)

// outputOf is the name of what a task computes.
var outputOf = map[task]string{taskEmbed: "embedding", taskRerank: "score", taskGenerate: "generated_text"}

// tensorsOf says what a model takes and gives.
func tensorsOf(m *model) (inputs, outputs []tensorKind) {
	inputs = []tensorKind{{inputText, datatypeRaw, []int{-1}}}
	for _, t := range m.tasks {
		switch t {
		case taskEmbed:
			outputs = append(outputs, tensorKind{outputOf[t], "FP32", []int{-1, m.properties.Dimension}})
		case taskRerank:
			inputs = append(inputs, tensorKind{inputQuery, datatypeRaw, []int{1}})
			outputs = append(outputs, tensorKind{outputOf[t], "FP32", []int{-1}})
		case taskGenerate:
			outputs = append(outputs, tensorKind{outputOf[t], datatypeRaw, []int{-1}})
		}
	}
	return inputs, outputs
}

func (s *service) inferenceServer(x *exchange, _ *http.Request) error {
	return writeJSON(x, http.StatusOK, map[string]any{"name": "kinglet", "version": kinglet.Version(), "extensions": []string{}})
}

func (s *service) inferenceLive(x *exchange, _ *http.Request) error {
	return writeJSON(x, http.StatusOK, map[string]bool{"live": true})
}

func (s *service) inferenceReady(x *exchange, r *http.Request) error {
	if s.stopping.Load() || s.models.Load() == nil {
		return s.readyz(x, r)
	}
	return writeJSON(x, http.StatusOK, map[string]bool{"ready": true})
}

// named is the model that the path names.
func (x *exchange) named(r *http.Request) (*model, error) {
	name := r.PathValue("model")
	for _, m := range x.models {
		if m.name == name {
			return m, nil
		}
	}
	return nil, notFound(name)
}

func (s *service) inferenceModel(x *exchange, r *http.Request) error {
	m, err := x.named(r)
	if err != nil {
		return err
	}
	inputs, outputs := tensorsOf(m)
	return writeJSON(x, http.StatusOK, map[string]any{
		"name": m.name, "versions": []string{}, "platform": "kinglet_" + m.properties.Family, "inputs": inputs, "outputs": outputs,
	})
}

func (s *service) inferenceModelReady(x *exchange, r *http.Request) error {
	m, err := x.named(r)
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, map[string]any{"name": m.name, "ready": true})
}

func (s *service) infer(x *exchange, r *http.Request) error {
	x.texts = inputText
	body, err := readBody(x, r, s.config.maxBodyBytes)
	if err != nil {
		return err
	}
	m, err := x.named(r)
	if err != nil {
		return err
	}
	request, err := decode[inferRequest](body)
	if err != nil {
		return err
	}
	parameters := &inferParameters{}
	if !absent(request.Parameters) {
		if parameters, err = decode[inferParameters](request.Parameters); err != nil {
			return err
		}
	}
	work, err := request.task(m)
	if err != nil {
		return err
	}
	inputs, err := request.texts(work)
	if err != nil {
		return err
	}
	var output tensor
	switch work {
	case taskEmbed:
		output, err = s.inferEmbedding(r.Context(), x, m, inputs[inputText], parameters)
	case taskRerank:
		output, err = s.inferScore(r.Context(), x, m, inputs, parameters)
	default:
		output, err = s.inferText(r.Context(), x, m, inputs[inputText], parameters)
	}
	if err != nil {
		return err
	}
	output.Name = outputOf[work]
	return writeJSON(x, http.StatusOK, inferAnswer{ModelName: m.name, ID: request.ID, Outputs: []tensor{output}})
}

// task is what the request asks for: the model's first task, or that of the output that it names.
func (request *inferRequest) task(m *model) (task, error) {
	if len(request.Outputs) == 0 {
		return m.tasks[0], nil
	}
	if len(request.Outputs) > 1 {
		return "", unsupported("outputs", "one output per request is supported")
	}
	if !absent(request.Outputs[0].Parameters) {
		return "", unsupported("outputs[0].parameters", "parameters of an output are not supported")
	}
	name := request.Outputs[0].Name
	for _, t := range m.tasks {
		if outputOf[t] == name {
			return t, nil
		}
	}
	return "", badRequest("outputs[0].name", "%s has no output %q", m.name, name)
}

// texts are the inputs by name: "text", and for a reranker "query".
func (request *inferRequest) texts(t task) (map[string][]string, error) {
	wanted := []string{inputText}
	if t == taskRerank {
		wanted = append(wanted, inputQuery)
	}
	found := map[string][]string{}
	for i, input := range request.Inputs {
		param := fmt.Sprintf("inputs[%d]", i)
		switch _, twice := found[input.Name]; {
		case !slices.Contains(wanted, input.Name):
			return nil, badRequest(param+".name", "%q is not an input; the inputs are %s", input.Name, strings.Join(wanted, ", "))
		case twice:
			return nil, badRequest(param+".name", "%q is there twice", input.Name)
		case input.Datatype != datatypeRaw:
			return nil, badRequest(param+".datatype", "%q is not %q", input.Datatype, datatypeRaw)
		case !absent(input.Parameters):
			return nil, unsupported(param+".parameters", "parameters of an input are not supported")
		}
		values, err := texts(input.Data, param+".data")
		if err != nil {
			return nil, err
		}
		// [n], or [n, 1], the first dimension being the batch.
		shape := input.Shape
		if len(shape) == 2 && shape[1] == 1 {
			shape = shape[:1]
		}
		if !slices.Equal(shape, []int{len(values)}) {
			return nil, badRequest(param+".shape", "is %v, and the data has %d texts", input.Shape, len(values))
		}
		found[input.Name] = values
	}
	for _, name := range wanted {
		if found[name] == nil {
			return nil, badRequest("inputs", "there is no input %q", name)
		}
	}
	if queries := found[inputQuery]; t == taskRerank && len(queries) != 1 {
		return nil, badRequest("inputs", "%q has %d texts, and one is expected", inputQuery, len(queries))
	}
	return found, nil
}

func (s *service) inferEmbedding(ctx context.Context, x *exchange, m *model, inputs []string, p *inferParameters) (tensor, error) {
	embeddings, err := s.embedTexts(ctx, x, m, inputText, inputs, p.Truncate)
	if err != nil {
		return tensor{}, err
	}
	values := make([]float32, 0, embeddings.Len()*embeddings.Dimension)
	for _, vector := range embeddings.All() {
		values = append(values, vector...)
	}
	data, err := appendFloats(nil, values)
	return tensor{Shape: []int{embeddings.Len(), embeddings.Dimension}, Datatype: "FP32", Data: data}, err
}

func (s *service) inferScore(ctx context.Context, x *exchange, m *model, inputs map[string][]string, p *inferParameters) (tensor, error) {
	documents := inputs[inputText]
	scores, err := s.scoreTexts(ctx, x, m, inputText, inputs[inputQuery][0], documents, nil, p.Truncate)
	if err != nil {
		return tensor{}, err
	}
	values := make([]float32, len(documents))
	for i := range documents {
		values[i] = scores.Row(i)[0]
	}
	data, err := appendFloats(nil, values)
	return tensor{Shape: []int{len(documents)}, Datatype: "FP32", Data: data}, err
}

func (s *service) inferText(ctx context.Context, x *exchange, m *model, prompts []string, p *inferParameters) (tensor, error) {
	if p.Stream || p.count() != 1 || p.Model != "" {
		return tensor{}, unsupported("parameters", "stream, n and model are not supported here")
	}
	options, err := s.options(&p.sampling, defaultCompletionTokens)
	if err != nil {
		return tensor{}, err
	}
	if err := s.checkCount(inputText, len(prompts)); err != nil {
		return tensor{}, err
	}
	tokens, err := s.countTokens(ctx, m, inputText, prompts...)
	if err != nil {
		return tensor{}, err
	}
	release, err := s.admit(ctx, x, m, tokens+len(prompts)*options.MaxNewTokens)
	if err != nil {
		return tensor{}, err
	}
	defer release()
	generations, err := m.Generate(ctx, prompts, options)
	if err != nil {
		return tensor{}, err
	}
	answers := make([]string, len(generations))
	for i := range generations {
		if err := refuseTruncated(m, inputText, "", append(make([]bool, i), generations[i].Truncated)); err != nil {
			return tensor{}, err
		}
		x.input += generations[i].InputTokenCount
		x.output += len(generations[i].Outputs[0].Tokens)
		answers[i] = generations[i].Outputs[0].Text
	}
	data, err := json.Marshal(answers)
	return tensor{Shape: []int{len(answers)}, Datatype: datatypeRaw, Data: data}, err
}
