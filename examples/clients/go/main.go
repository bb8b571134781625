// Asks Countersign whether a token may be issued for a run: POST /v1/decisions.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const maxResponse = 1 << 20

// Terms are what a token may have at most.
type Terms struct {
	Audiences  []string          `json:"audiences"`
	TTLSeconds uint32            `json:"ttl_seconds"`
	Claims     map[string]string `json:"claims"`
}

// Reason is one for a refusal.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Source  string `json:"source"`
}

// Decision is an answer: approved with terms, or refused with reasons.
type Decision struct {
	Decision string   `json:"decision"`
	Subject  string   `json:"subject"`
	Outcome  string   `json:"outcome"`
	Terms    *Terms   `json:"terms"`
	Reasons  []Reason `json:"reasons"`
}

type request struct {
	Run        json.RawMessage `json:"run"`
	Audiences  []string        `json:"audiences"`
	TTLSeconds uint32          `json:"ttl_seconds"`
}

// Decide asks for a decision. Any error means that there is none: refuse.
func Decide(ctx context.Context, client *http.Client, url, apiKey string, run []byte, audience string, ttl uint32) (*Decision, error) {
	body, err := json.Marshal(request{run, []string{audience}, ttl})
	if err != nil {
		return nil, err
	}
	asked, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/decisions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	asked.Header.Set("Authorization", "Bearer "+apiKey)
	asked.Header.Set("Content-Type", "application/json")
	response, err := client.Do(asked)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	var decision Decision
	if err := json.Unmarshal(text, &decision); err != nil {
		return nil, err
	}
	switch {
	case decision.Outcome == "approved" && decision.Terms != nil:
		return &decision, nil
	case decision.Outcome == "refused":
		decision.Terms = nil
		return &decision, nil
	}
	return nil, errors.New("an outcome that is not known")
}

func run() (int, error) {
	key, err := os.ReadFile(os.Getenv("API_KEY_FILE"))
	if err != nil {
		return 1, err
	}
	object, err := os.ReadFile(os.Getenv("RUN_FILE"))
	if err != nil {
		return 1, err
	}
	ttl, err := strconv.ParseUint(os.Getenv("TTL_SECONDS"), 10, 32)
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := &http.Client{
		// A credential is for this URL alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	decision, err := Decide(ctx, client, os.Getenv("SERVICE_URL"), strings.TrimSpace(string(key)), object, os.Getenv("AUDIENCE"), uint32(ttl))
	if err != nil {
		return 1, err
	}
	if err := json.NewEncoder(os.Stdout).Encode(decision); err != nil {
		return 1, err
	}
	if decision.Terms == nil {
		return 2, nil
	}
	return 0, nil
}

func main() {
	status, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}
