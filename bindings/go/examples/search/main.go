// Command search ranks lines of text by how near their meaning is to a query's.
//
//	search -model DIRECTORY -query "a bird's song"            ranks its own lines
//	search -model DIRECTORY -query "a bird's song" - < lines  ranks the lines of standard input
//
// The lines are embedded by many goroutines at once, as a server would do it, and Ctrl-C ends the calls that run.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

var lines = []string{
	"The kinglet is the smallest songbird of its woods.",
	"Shares fell sharply after the central bank's decision.",
	"Whisk the eggs with sugar until the mixture is pale.",
	"A nightingale was heard before dawn.",
	"The new train line halves the journey to the coast.",
	"Interest rates are expected to rise next year.",
	"Let the dough rest for an hour in a warm place.",
	"The choir rehearses every Tuesday evening.",
	"Der Zug nach München hat Verspätung.",
	"Migrating birds find their way by the stars.",
}

func main() {
	directory := flag.String("model", "", "the model's `directory`, for instance all-MiniLM-L6-v2")
	query := flag.String("query", "birds that sing", "what to look for")
	top := flag.Int("top", 3, "how many results to print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := search(ctx, *directory, *query, *top, flag.Arg(0) == "-"); err != nil {
		fmt.Fprintln(os.Stderr, "search:", err)
		os.Exit(1)
	}
}

type hit struct {
	line  string
	score float32
}

func search(ctx context.Context, directory, query string, top int, input bool) error {
	if directory == "" {
		return errors.New("no model: give its directory with -model")
	}
	if input {
		var err error
		if lines, err = read(); err != nil {
			return err
		}
	}
	model, err := kinglet.Load(ctx, directory, &kinglet.LoadOptions{Precision: kinglet.PrecisionINT8})
	if err != nil {
		return err
	}
	defer model.Close()

	options := &kinglet.EmbedOptions{Normalize: kinglet.TristateYes}
	wanted, err := model.Embed(ctx, []string{query}, options)
	if err != nil {
		return err
	}
	hits, err := rank(ctx, model, options, wanted.Vector(0))
	if err != nil {
		return err
	}
	fmt.Printf("nearest to %q:\n", query)
	for _, hit := range hits[:max(0, min(top, len(hits)))] {
		fmt.Printf("  %.3f  %s\n", hit.score, hit.line)
	}
	return report(model)
}

func read() (lines []string, err error) {
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, scanner.Err()
}

// rank embeds the lines, a goroutine for each few of them, and sorts them by their score.
func rank(ctx context.Context, model *kinglet.Model, options *kinglet.EmbedOptions, query []float32) ([]hit, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	batch := max(1, min(32, len(lines)/8))
	hits := make([]hit, len(lines))
	var group sync.WaitGroup
	running := make(chan struct{}, 100)
	at := 0
	for batch := range slices.Chunk(lines, batch) {
		place := hits[at : at+len(batch)]
		at += len(batch)
		running <- struct{}{}
		group.Add(1)
		go func() {
			defer func() { <-running; group.Done() }()
			embeddings, err := model.Embed(ctx, batch, options)
			if err != nil {
				fail(err) // The other calls need not go on.
				return
			}
			for i, line := range batch {
				place[i] = hit{line, dot(query, embeddings.Vector(i))}
			}
		}()
	}
	group.Wait()
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	return hits, context.Cause(ctx)
}

// dot is the cosine of vectors of length 1.
func dot(a, b []float32) (sum float32) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func report(model *kinglet.Model) error {
	c, err := model.Counters()
	if err != nil {
		return err
	}
	calls := c.Stages[kinglet.StageCall]
	fmt.Printf("%d calls, %d texts, %d tokens; latency %v (p50), %v (p95)\n", calls.Calls, calls.Items, calls.Tokens,
		c.Latency.P50.Round(time.Microsecond), c.Latency.P95.Round(time.Microsecond))
	for _, stage := range []kinglet.Stage{
		kinglet.StageLoad, kinglet.StageTokenize, kinglet.StageEmbed, kinglet.StageAttention, kinglet.StageLinear, kinglet.StagePool,
	} {
		fmt.Printf("  %-10s %v\n", stage, c.Stages[stage].Time.Round(time.Microsecond))
	}
	return nil
}
