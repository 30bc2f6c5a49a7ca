package kinglet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// directory is where a model lies; here one of the tiny ones that Kinglet is tested with.
func directory(name string) string {
	if place := os.Getenv("KINGLET_FIXTURES"); place != "" {
		return filepath.Join(place, name)
	}
	return filepath.Join("..", "..", "tests", "fixtures", name)
}

func Example() {
	ctx := context.Background()
	model, err := kinglet.Load(ctx, directory("bert"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	embeddings, err := model.Embed(ctx, []string{"the small bird", "the quick fox"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(embeddings.Len(), "vectors of", len(embeddings.Vector(0)))
	// Output: 2 vectors of 32
}

func ExampleLoad() {
	_, err := kinglet.Load(context.Background(), "no-such-directory", &kinglet.LoadOptions{Precision: kinglet.PrecisionINT8})
	fmt.Println(errors.Is(err, kinglet.ErrNotFound))
	// Output: true
}

func ExampleModel_Tokenize() {
	ctx := context.Background()
	model, err := kinglet.Load(ctx, directory("bert"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	text := "The bird sings."
	encoding, err := model.Tokenize(ctx, []string{text}, &kinglet.TokenizeOptions{Offsets: true})
	if err != nil {
		log.Fatal(err)
	}
	for i, span := range encoding.Offsets {
		if encoding.SpecialTokensMask[i] == 0 {
			fmt.Printf("%q ", text[span.Start:span.End])
		}
	}
	// Output: "The" "b" "ird" "s" "ing" "s" "."
}

func ExampleModel_Classify() {
	ctx := context.Background()
	model, err := kinglet.Load(ctx, directory("bert-classifier"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	classes, err := model.Classify(ctx, []string{"bird", "The small bird sings near the river, and the quick fox runs."}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for i := range classes.Len() {
		fmt.Printf("%s %.2f\n", classes.Label(i), classes.Row(i)[classes.Best[i]])
	}
	// Output:
	// POSITIVE 0.50
	// POSITIVE 0.70
}

func ExampleModel_Embed_timeout() {
	ctx, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	model, err := kinglet.Load(context.Background(), directory("bert"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	_, err = model.Embed(ctx, []string{"too late"}, nil)
	fmt.Println(errors.Is(err, context.DeadlineExceeded), errors.Is(err, kinglet.ErrCancelled))
	// Output: true true
}

func ExampleModel_Generate() {
	ctx := context.Background()
	model, err := kinglet.Load(ctx, directory("generation/gpt2"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	generations, err := model.Generate(ctx, []string{"Does the small bird sing?"}, &kinglet.GenerateOptions{
		MaxNewTokens: 20,
		DoSample:     kinglet.Some(true),
		Temperature:  kinglet.Some(0.7),
		Seed:         kinglet.Some(uint64(1)),
		Grammar:      kinglet.Regex("(Yes|No), it (sings|is silent)\\."),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(generations[0].Text())
	// Output: No, it is silent.
}

func ExampleModel_Stream() {
	ctx := context.Background()
	model, err := kinglet.Load(ctx, directory("generation/gpt2"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	options := &kinglet.GenerateOptions{MaxNewTokens: 60, Grammar: kinglet.Regex("peep(, peep){2}!")}
	for piece, err := range model.Stream(ctx, []string{"The bird said: "}, options) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(piece.Text)
	}
	fmt.Println()
	// Output: peep, peep, peep!
}
