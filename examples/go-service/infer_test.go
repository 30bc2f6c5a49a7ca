package main

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The Open Inference Protocol: the same answers as the other routes, in its form.

type inferred struct {
	ModelName string `json:"model_name"`
	ID        string
	Outputs   []struct {
		Name, Datatype string
		Shape          []int
		Data           json.RawMessage
	}
}

func textInput(name string, texts ...string) object {
	return object{"name": name, "datatype": "BYTES", "shape": []int{len(texts)}, "data": texts}
}

func TestInfer(t *testing.T) {
	s := start(t, defaults(t))
	texts := []string{"a small bird", "the river"}

	var embedded inferred
	s.post("/v2/models/bert/infer", object{"id": "7", "inputs": []object{textInput("text", texts...)}}, &embedded)
	output := embedded.Outputs[0]
	if embedded.ModelName != "bert" || embedded.ID != "7" || output.Name != "embedding" || output.Datatype != "FP32" ||
		!slices.Equal(output.Shape, []int{2, 32}) {
		t.Errorf("%+v", embedded)
	}
	var values []float32
	check(t, json.Unmarshal(output.Data, &values))
	expected, err := s.model("bert").Embed(t.Context(), texts, nil)
	check(t, err)
	if !slices.Equal(values, slices.Concat(expected.Vector(0), expected.Vector(1))) {
		t.Error("the vectors differ from the library's")
	}

	var scored inferred
	s.post("/v2/models/cross-encoder/infer", object{"inputs": []object{textInput("query", "bird"), textInput("text", texts...)}}, &scored)
	var scores []float32
	check(t, json.Unmarshal(scored.Outputs[0].Data, &scores))
	wanted, err := s.model("cross-encoder").Score(t.Context(), []string{"bird", "bird"}, texts, nil)
	check(t, err)
	if !slices.Equal(scores, []float32{wanted.Row(0)[0], wanted.Row(1)[0]}) || !slices.Equal(scored.Outputs[0].Shape, []int{2}) {
		t.Errorf("%v, %v", scores, wanted)
	}

	var generated inferred
	s.post("/v2/models/gpt2/infer", object{
		"inputs":     []object{textInput("text", texts...)},
		"parameters": object{"max_tokens": 4, "temperature": 0},
		"outputs":    []object{{"name": "generated_text"}},
	}, &generated)
	var answers []string
	check(t, json.Unmarshal(generated.Outputs[0].Data, &answers))
	generations, err := s.model("gpt2").Generate(t.Context(), texts, greedy(4))
	check(t, err)
	if !slices.Equal(answers, []string{generations[0].Outputs[0].Text, generations[1].Outputs[0].Text}) {
		t.Errorf("%q", answers)
	}
}

func TestInferenceMetadata(t *testing.T) {
	s := start(t, defaults(t))
	for path, parts := range map[string][]string{
		"/v2":                        {`"name":"kinglet"`, `"version":"`},
		"/v2/health/live":            {`"live":true`},
		"/v2/health/ready":           {`"ready":true`},
		"/v2/models/bert/ready":      {`"name":"bert"`, `"ready":true`},
		"/v2/models/bert":            {`"platform":"kinglet_bert"`, `{"name":"embedding","datatype":"FP32","shape":[-1,32]}`},
		"/v2/models/cross-encoder":   {`{"name":"query","datatype":"BYTES","shape":[1]}`, `"score"`},
		"/v2/models/gpt2":            {`{"name":"generated_text","datatype":"BYTES","shape":[-1]}`},
		"/v2/models/none":            {`"error":"model: there is no model`},
		"/v2/models/none/ready":      {`"error":"model: there is no model`},
		"/v2/models/bert/versions/1": {`"error":"there is no /v2/models/bert/versions/1"`},
	} {
		status, text := s.get(path)
		if wanted := strings.Contains(parts[0], "error"); wanted != (status == http.StatusNotFound) {
			t.Errorf("%s: status %d, %s", path, status, text)
		}
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no %s in %s", path, part, text)
			}
		}
	}
}

func TestInferenceRefusals(t *testing.T) {
	s := start(t, defaults(t, "-max-inputs", "2"))
	bird := textInput("text", "bird")
	with := func(field string, value any) object {
		changed := textInput("text", "bird")
		changed[field] = value
		return object{"inputs": []object{changed}}
	}
	for _, c := range []struct {
		model string
		body  any
		says  string
	}{
		{"bert", object{}, `inputs: there is no input "text"`},
		{"bert", with("name", "x"), `inputs[0].name: "x" is not an input; the inputs are text`},
		{"bert", with("datatype", "FP32"), `inputs[0].datatype: "FP32" is not "BYTES"`},
		{"bert", with("shape", []int{2}), `inputs[0].shape: is [2], and the data has 1 texts`},
		{"bert", with("data", []int{1}), `inputs[0].data: token ids are not supported`},
		{"bert", with("parameters", object{"binary_data_size": 4}), `inputs[0].parameters: parameters of an input`},
		{"bert", object{"inputs": []object{bird, bird}}, `inputs[1].name: "text" is there twice`},
		{"bert", object{"inputs": []object{textInput("text", "a", "b", "c")}}, "-max-inputs is 2"},
		{"bert", object{"inputs": []object{bird}, "outputs": []object{{"name": "score"}}}, `outputs[0].name: bert has no output "score"`},
		{"bert", object{"inputs": []object{bird}, "parameters": object{"pooling": "cls"}}, "pooling: the field is not known"},
		{"cross-encoder", object{"inputs": []object{bird}}, `inputs: there is no input "query"`},
		{"cross-encoder", object{"inputs": []object{bird, textInput("query", "a", "b")}}, `inputs: "query" has 2 texts`},
		{"gpt2", object{"inputs": []object{bird}, "parameters": object{"stream": true}}, "parameters: stream, n and model"},
		{"gpt2", object{"inputs": []object{bird}, "parameters": object{"max_tokens": 0}}, "max_tokens: 0 is not between 1"},
	} {
		answer := s.do(t.Context(), "POST", "/v2/models/"+c.model+"/infer", c.body)
		text, err := io.ReadAll(answer.Body)
		check(t, err)
		var refused struct{ Error string }
		if err := json.Unmarshal(text, &refused); err != nil || answer.StatusCode != http.StatusBadRequest || !strings.Contains(refused.Error, c.says) {
			t.Errorf("%v: status %d, %s, and %q is expected", c.body, answer.StatusCode, text, c.says)
		}
	}
}
