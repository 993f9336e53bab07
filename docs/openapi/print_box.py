"""Print the box's OpenAPI document, made from its routes and types: `make openapi` keeps it in box.json."""

import json

from appliance import __version__
from appliance.api.app import ROUTES
from appliance.api.openapi import document

print(json.dumps(document(ROUTES, version=__version__), indent=2, ensure_ascii=False, sort_keys=True))
