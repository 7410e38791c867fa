package bunq_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Log in to a simulated API and list the device servers of the account.
func Example() {
	const apiKey = "sandbox_example"
	api := bunqtest.New(bunqtest.Options{})
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: time.Hour})
	api.AddDeviceServer(1, bunq.DeviceServer{ID: 4711, Description: "backup", Status: bunq.StatusBlocked})

	client := bunq.NewClient(bunq.Config{
		BaseURL:   bunq.Sandbox.BaseURL(),
		UserAgent: "example/1.0",
		Transport: bunqtest.Transport(api), // leave it out to call the real API
	})
	ctx := context.Background()
	key := bunqtest.ClientKey(0) // of 2048 bits; generate one with crypto/rsa
	installation, err := client.CreateInstallation(ctx, &key.PublicKey)
	check(err)
	credentials := bunq.Credentials{Token: installation.Token, PrivateKey: key, ServerKey: installation.ServerKey}
	_, err = client.CreateDeviceServer(ctx, credentials, bunq.Registration{Description: "example", APIKey: apiKey})
	check(err)
	session, err := client.CreateSession(ctx, credentials, apiKey)
	check(err)
	credentials.Token = session.Token
	for page, err := range client.DeviceServers(ctx, credentials) {
		check(err)
		for _, server := range page.DeviceServers {
			fmt.Println(server.Description, server.Status)
		}
	}
	// Output:
	// example ACTIVE
	// backup BLOCKED
}
