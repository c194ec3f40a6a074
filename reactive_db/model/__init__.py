"""The model: values, ids, documents, schemas and keys. Pure: no store, no disk, no clock."""
