package main

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// What `terraform providers schema -json` writes.
type document struct {
	Providers map[string]struct {
		Provider    schema            `json:"provider"`
		Resources   map[string]schema `json:"resource_schemas"`
		DataSources map[string]schema `json:"data_source_schemas"`
	} `json:"provider_schemas"`
}

type schema struct {
	Version int64 `json:"version"`
	Block   block `json:"block"`
}

type block struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]nested    `json:"block_types"`
}

type attribute struct {
	Type      json.RawMessage `json:"type"`
	Required  bool            `json:"required"`
	Optional  bool            `json:"optional"`
	Computed  bool            `json:"computed"`
	Sensitive bool            `json:"sensitive"`
	WriteOnly bool            `json:"write_only"`
}

type nested struct {
	Mode     string `json:"nesting_mode"`
	Block    block  `json:"block"`
	MinItems int64  `json:"min_items"`
	MaxItems int64  `json:"max_items"`
}

var modes = map[string]tfprotov5.SchemaNestedBlockNestingMode{
	"single": tfprotov5.SchemaNestedBlockNestingModeSingle,
	"list":   tfprotov5.SchemaNestedBlockNestingModeList,
	"set":    tfprotov5.SchemaNestedBlockNestingModeSet,
	"map":    tfprotov5.SchemaNestedBlockNestingModeMap,
	"group":  tfprotov5.SchemaNestedBlockNestingModeGroup,
}

// Reads the recorded schemas of the provider of an address.
func read(text []byte, address string) (*tfprotov5.GetProviderSchemaResponse, error) {
	var all document
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	provider, found := all.Providers[address]
	if !found {
		return nil, fmt.Errorf("nothing of %s is in there", address)
	}
	answer := &tfprotov5.GetProviderSchemaResponse{
		ServerCapabilities: &tfprotov5.ServerCapabilities{GetProviderSchemaOptional: true},
		ResourceSchemas:    map[string]*tfprotov5.Schema{},
		DataSourceSchemas:  map[string]*tfprotov5.Schema{},
	}
	var err error
	if answer.Provider, err = provider.Provider.convert(); err != nil {
		return nil, fmt.Errorf("the provider's own: %w", err)
	}
	for name, schema := range provider.Resources {
		if answer.ResourceSchemas[name], err = schema.convert(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, schema := range provider.DataSources {
		if answer.DataSourceSchemas[name], err = schema.convert(); err != nil {
			return nil, fmt.Errorf("data source %s: %w", name, err)
		}
	}
	return answer, nil
}

func (s schema) convert() (*tfprotov5.Schema, error) {
	block, err := s.Block.convert()
	return &tfprotov5.Schema{Version: s.Version, Block: block}, err
}

func (b block) convert() (*tfprotov5.SchemaBlock, error) {
	converted := &tfprotov5.SchemaBlock{}
	for name, attribute := range b.Attributes {
		//nolint:staticcheck // The one reader of this notation that there is.
		kind, err := tftypes.ParseJSONType(attribute.Type)
		if err != nil {
			return nil, fmt.Errorf("the type of %s: %w", name, err)
		}
		converted.Attributes = append(converted.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: kind, Required: attribute.Required, Optional: attribute.Optional,
			Computed: attribute.Computed, Sensitive: attribute.Sensitive, WriteOnly: attribute.WriteOnly,
		})
	}
	for name, nested := range b.Blocks {
		inner, err := nested.Block.convert()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		mode, known := modes[nested.Mode]
		if !known {
			return nil, fmt.Errorf("%s nests as %q", name, nested.Mode)
		}
		converted.BlockTypes = append(converted.BlockTypes, &tfprotov5.SchemaNestedBlock{
			TypeName: name, Block: inner, Nesting: mode, MinItems: nested.MinItems, MaxItems: nested.MaxItems,
		})
	}
	return converted, nil
}

// The configuration as planned: of the resource's own attributes, those that the provider computes and nobody has
// set are unknown, those that are only written are gone.
func plan(schema *tfprotov5.Schema, proposed *tfprotov5.DynamicValue) (*tfprotov5.DynamicValue, error) {
	kind := schema.ValueType()
	value, err := proposed.Unmarshal(kind)
	if err != nil || value.IsNull() {
		return proposed, err
	}
	var fields map[string]tftypes.Value
	if err := value.As(&fields); err != nil {
		return nil, err
	}
	for _, attribute := range schema.Block.Attributes {
		switch {
		case attribute.WriteOnly:
			fields[attribute.Name] = tftypes.NewValue(attribute.Type, nil)
		case attribute.Computed && fields[attribute.Name].IsNull():
			fields[attribute.Name] = tftypes.NewValue(attribute.Type, tftypes.UnknownValue)
		}
	}
	planned, err := tfprotov5.NewDynamicValue(kind, tftypes.NewValue(kind, fields))
	return &planned, err
}
