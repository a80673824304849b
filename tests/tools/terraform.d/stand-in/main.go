// A provider of Terraform that knows schemas and nothing else: enough to validate modules, to plan them, and to test
// them with mock_provider, where the real providers cannot be had. Which one it stands in for follows from its own
// name, terraform-provider-NAME; the schemas are recorded from the real ones (see ../README.md).
//
// It has no resources: a plan is the configuration, with what the provider would compute unknown. Applying fails.
package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
)

//go:embed schemas/*.json
var recorded embed.FS

func main() {
	if err := serve(filepath.Base(os.Args[0])); err != nil {
		fmt.Fprintln(os.Stderr, "stand-in:", err)
		os.Exit(1)
	}
}

// Serves the schemas that belong to a program's name, such as terraform-provider-aws_v6.47.1.
func serve(program string) error {
	name, _, _ := strings.Cut(strings.TrimPrefix(program, "terraform-provider-"), "_")
	text, err := recorded.ReadFile("schemas/" + name + ".json")
	if err != nil {
		return fmt.Errorf("%s is none of the providers that are recorded: %w", name, err)
	}
	address := "registry.terraform.io/hashicorp/" + name
	schemas, err := read(text, address)
	if err != nil {
		return fmt.Errorf("the schemas of %s: %w", name, err)
	}
	return tf5server.Serve(address, func() tfprotov5.ProviderServer { return &standIn{schemas: schemas} })
}

// The methods that are not here are never called for what this is used for; one that is would end the program.
type standIn struct {
	tfprotov5.ProviderServer
	schemas *tfprotov5.GetProviderSchemaResponse
}

func (s *standIn) GetProviderSchema(
	context.Context, *tfprotov5.GetProviderSchemaRequest,
) (*tfprotov5.GetProviderSchemaResponse, error) {
	return s.schemas, nil
}

func (s *standIn) PrepareProviderConfig(
	_ context.Context, request *tfprotov5.PrepareProviderConfigRequest,
) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (s *standIn) ConfigureProvider(
	context.Context, *tfprotov5.ConfigureProviderRequest,
) (*tfprotov5.ConfigureProviderResponse, error) {
	return &tfprotov5.ConfigureProviderResponse{}, nil
}

func (s *standIn) StopProvider(
	context.Context, *tfprotov5.StopProviderRequest,
) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

// Terraform itself holds a configuration against the schema: names, types, what is required, how many blocks.
func (s *standIn) ValidateResourceTypeConfig(
	context.Context, *tfprotov5.ValidateResourceTypeConfigRequest,
) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (s *standIn) ValidateDataSourceConfig(
	context.Context, *tfprotov5.ValidateDataSourceConfigRequest,
) (*tfprotov5.ValidateDataSourceConfigResponse, error) {
	return &tfprotov5.ValidateDataSourceConfigResponse{}, nil
}

func (s *standIn) PlanResourceChange(
	_ context.Context, request *tfprotov5.PlanResourceChangeRequest,
) (*tfprotov5.PlanResourceChangeResponse, error) {
	planned, err := plan(s.schemas.ResourceSchemas[request.TypeName], request.ProposedNewState)
	if err != nil {
		return nil, fmt.Errorf("planning %s: %w", request.TypeName, err)
	}
	return &tfprotov5.PlanResourceChangeResponse{PlannedState: planned}, nil
}

func (s *standIn) ApplyResourceChange(
	_ context.Context, request *tfprotov5.ApplyResourceChangeRequest,
) (*tfprotov5.ApplyResourceChangeResponse, error) {
	return nil, fmt.Errorf("%s cannot be applied: this is a stand-in for tests", request.TypeName)
}
