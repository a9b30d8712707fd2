"""What every request goes through: context, errors, schemas and the OpenAPI document."""
