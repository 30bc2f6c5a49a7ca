package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// result is what one number of clients gave.
type result struct {
	// times of the requests that succeeded.
	times []time.Duration
	// busy is how many were refused with 429.
	busy int
	took time.Duration
}

// row is a line of the table.
func (r *result) row(clients int) string {
	if len(r.times) == 0 {
		return fmt.Sprintf("| %d | 0 | | | | | | | 0 | %d |", clients, r.busy)
	}
	slices.Sort(r.times)
	mean, deviation := r.moments()
	return fmt.Sprintf("| %d | %.1f | %s | %s | %s | %s | %s | %s | %d | %d |", clients, float64(len(r.times))/r.took.Seconds(),
		ms(mean), ms(percentile(r.times, 50)), ms(deviation), ms(percentile(r.times, 90)), ms(percentile(r.times, 95)),
		ms(percentile(r.times, 99)), len(r.times), r.busy)
}

// moments are the mean and the standard deviation.
func (r *result) moments() (mean, deviation time.Duration) {
	sum := 0.0
	for _, t := range r.times {
		sum += float64(t)
	}
	m, squares := sum/float64(len(r.times)), 0.0
	for _, t := range r.times {
		squares += (float64(t) - m) * (float64(t) - m)
	}
	return time.Duration(m), time.Duration(math.Sqrt(squares / float64(len(r.times))))
}

// percentile is the smallest of the sorted times that at least p % of them do not exceed.
func percentile(sorted []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
