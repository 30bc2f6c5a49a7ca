package kinglet

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A fixture's reference.json, made by transformers.
type reference struct {
	Text      string
	Pair      *string
	IDs       []uint32    `json:"ids"`
	TypeIDs   []uint32    `json:"type_ids"`
	Offsets   [][2]int    `json:"offsets"` // in characters
	Hidden    [][]float32 `json:"hidden"`
	Logits    json.RawMessage
	Embedding []float32
	Truncated bool
}

func fixtures() string {
	if place := os.Getenv("KINGLET_FIXTURES"); place != "" {
		return place
	}
	return filepath.Join("..", "..", "tests", "fixtures")
}

// fixture is a fixture's place; a test's own copy of one has its path for a name.
func fixture(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(fixtures(), name)
}

// references has the cases of every fixture that there is, by its name.
func references(t testing.TB) map[string][]reference {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(fixtures(), "*", "reference.json"))
	if len(files) < 5 {
		t.Fatalf("%s: has %d fixtures; set KINGLET_FIXTURES to Kinglet's tests/fixtures", fixtures(), len(files))
	}
	all := map[string][]reference{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err)
		var content struct{ Cases []reference }
		check(t, json.Unmarshal(text, &content))
		all[filepath.Base(filepath.Dir(file))] = content.Cases
	}
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// load loads a fixture for the length of a test.
func load(t testing.TB, name string, options *LoadOptions) *Model {
	t.Helper()
	model, err := Load(t.Context(), fixture(name), options)
	check(t, err)
	t.Cleanup(func() { model.Close() })
	return model
}

// near compares with a reference that was rounded.
func near(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: has %d values, the reference %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(float64(got[i] - want[i])); !(d <= 1e-4) {
			t.Fatalf("%s: value %d is %g, in the reference %g", what, i, got[i], want[i])
		}
	}
}

func flat(rows [][]float32) (values []float32) {
	for _, row := range rows {
		values = append(values, row...)
	}
	return values
}

// logits has one row, or for token classification one a token.
func (r reference) logits(t testing.TB) []float32 {
	t.Helper()
	var row []float32
	if json.Unmarshal(r.Logits, &row) == nil {
		return row
	}
	var rows [][]float32
	check(t, json.Unmarshal(r.Logits, &rows))
	return flat(rows)
}

// sameBits is stricter than ==, which takes 0 for -0.
func sameBits(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

// minilm is the directory of all-MiniLM-L6-v2; without one the test is skipped.
func minilm(t testing.TB) string {
	t.Helper()
	place, there := minilmPlace()
	if !there {
		t.Skipf("skipped: no MiniLM at %s; run `make demo`, which fetches it, or set KINGLET_MINILM", place)
	}
	return place
}

func minilmPlace() (place string, there bool) {
	place = os.Getenv("KINGLET_MINILM")
	if place == "" {
		place = filepath.Join("..", "..", "build", "models", "minilm")
	}
	_, err := os.Stat(filepath.Join(place, "config.json"))
	return place, err == nil
}

// minilmReference has the texts, the ids and the embeddings that transformers made of them.
func minilmReference(t testing.TB) (texts []string, ids [][]uint32, embeddings [][]float32) {
	t.Helper()
	lines, err := os.ReadFile(filepath.Join(fixtures(), "minilm", "texts.jsonl"))
	check(t, err)
	for line := range strings.Lines(string(lines)) {
		var value struct{ Text string }
		check(t, json.Unmarshal([]byte(line), &value))
		texts = append(texts, value.Text)
	}
	file, err := os.ReadFile(filepath.Join(fixtures(), "minilm", "reference.safetensors"))
	check(t, err)
	end := 8 + binary.LittleEndian.Uint64(file)
	var header map[string]struct {
		Offsets [2]uint64 `json:"data_offsets"`
	}
	check(t, json.Unmarshal(file[8:end], &header))
	tensor := func(name string) []uint32 {
		bytes := file[end+header[name].Offsets[0] : end+header[name].Offsets[1]]
		values := make([]uint32, len(bytes)/4)
		for i := range values {
			values[i] = binary.LittleEndian.Uint32(bytes[4*i:])
		}
		return values
	}
	lengths, tokens, values := tensor("lengths"), tensor("ids"), tensor("embeddings")
	width := len(values) / len(texts)
	for i, length := range lengths {
		row := make([]float32, width)
		for j, bits := range values[i*width : (i+1)*width] {
			row[j] = math.Float32frombits(bits)
		}
		ids, embeddings, tokens = append(ids, tokens[:length]), append(embeddings, row), tokens[length:]
	}
	return texts, ids, embeddings
}
