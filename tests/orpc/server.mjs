// A small server on the RPC framework behind the platform's API, with procedures named and shaped like the platform's.
// Usage: node server.mjs MODULES VERSION, where MODULES holds node_modules (see package.json) and VERSION is 1 or 2.
// Listens on a free loopback port and prints {"url": ...}. Ends when its standard input is closed.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [modules, version] = process.argv.slice(2)
const require = createRequire(resolve(modules, 'package.json'))
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const { os, ORPCError } = await load(`orpc-${version}`)
const { RPCHandler } = await load(`orpc-${version}/node`)
const { z } = await load('zod')

// A type of the application, for the serializer: 21 in version 1, "point" in version 2
class Point { constructor(x, y) { [this.x, this.y] = [x, y] } }
const point = {
  condition: (value) => value instanceof Point,
  serialize: ({ x, y }) => [x, y],
  deserialize: ([x, y]) => new Point(x, y),
}
const withPoint = async () => {
  if (version === '1') return { customJsonSerializers: [{ type: 21, ...point }] }
  const client = createRequire(require.resolve('orpc-2')).resolve('@orpc/client')
  const { RPCSerializer } = await import(pathToFileURL(client).href)
  return { serializer: new RPCSerializer({ handlers: { point } }) }
}

const KEY = 'pak_contract'
const ORGANIZATION = { id: 'org_contract', slug: 'stadt_musterhausen', name: 'Stadt Musterhausen' }
const SOLUTION_ID = 'sol_contract'

// State, in memory; POST /reset empties it

let datasets, sessions, lastNumber
const reset = () => [datasets, sessions, lastNumber] = [new Map(), new Set(), 0]
reset()

const newId = (prefix) => `${prefix}_${String(++lastNumber).padStart(6, '0')}`

const find = (id) => {
  const dataset = datasets.get(id)
  if (!dataset) throw new ORPCError('NOT_FOUND', { message: 'Dataset not found' })
  return dataset
}

const create = ({ slug, ...fields }) => {
  const now = new Date()
  const id = newId('ds')
  const dataset = { id, slug: slug ?? id, ...fields, columns: [], dataAsOf: null, createdAt: now, updatedAt: now }
  datasets.set(id, dataset)
  return dataset
}

// Procedures

const base = os.$context()

const authenticated = base.use(({ context, next }) => {
  const [scheme, token] = (context.authorization ?? '').split(' ')
  if (scheme !== 'Bearer' || !sessions.has(token)) throw new ORPCError('UNAUTHORIZED')
  return next()
})

const datasetRecord = z.object({
  id: z.string(),
  organizationId: z.string(),
  solutionId: z.string(),
  name: z.string(),
  slug: z.string(),
  description: z.string().nullable(),
  source: z.string().nullable(),
  documentation: z.record(z.string(), z.unknown()).nullable(),
  columns: z.array(z.unknown()),
  dataAsOf: z.date().nullable(),
  createdAt: z.date(),
  updatedAt: z.date(),
})

const editable = {
  name: z.string().min(1),
  description: z.string().nullable(),
  source: z.string().nullable(),
  documentation: z.record(z.string(), z.unknown()).nullable(),
}

const exchange = base
  .input(z.object({
    key: z.string(),
    organizationId: z.string().min(1).optional(),
    organizationSlug: z.string().min(1).optional(),
  }))
  .output(z.object({
    token: z.string(),
    expiresAt: z.date(),
    organizationId: z.string().optional(),
    scope: z.string(),
  }))
  .handler(({ input }) => {
    if (input.key !== KEY) throw new ORPCError('UNAUTHORIZED', { message: 'Invalid personal access key' })
    const { organizationId, organizationSlug } = input
    const known = (organizationId ?? ORGANIZATION.id) === ORGANIZATION.id
      && (organizationSlug ?? ORGANIZATION.slug) === ORGANIZATION.slug
    if (!known) throw new ORPCError('NOT_FOUND', { message: 'Organization not found' })
    const token = newId('session')
    sessions.add(token)
    const scoped = organizationId !== undefined || organizationSlug !== undefined
    return {
      token,
      expiresAt: new Date(Date.now() + 3_600_000),
      organizationId: scoped ? ORGANIZATION.id : undefined,
      scope: scoped ? 'organization' : 'user',
    }
  })

const router = {
  auth: { personalAccessKey: { exchange } },

  organization: {
    getOrganizationById: authenticated
      .input(z.object({ id: z.string() }))
      .handler(({ input }) => {
        if (input.id !== ORGANIZATION.id) throw new ORPCError('NOT_FOUND', { message: 'Organization not found' })
        return { ...ORGANIZATION, deletedAt: null, createdAt: new Date('2025-01-02T03:04:05.678Z') }
      }),
  },

  dataset: {
    createDataset: authenticated
      .input(z.object({
        ...editable,
        organizationId: z.literal(ORGANIZATION.id),
        solutionId: z.string(),
        slug: z.string().min(1).optional(),
      }))
      .output(datasetRecord)
      .handler(({ input }) => {
        if (input.solutionId !== SOLUTION_ID) throw new ORPCError('NOT_FOUND', { message: 'Solution not found' })
        if ([...datasets.values()].some(({ slug }) => slug === input.slug)) {
          throw new ORPCError('CONFLICT', { message: 'Slug already in use' })
        }
        return create(input)
      }),

    getDatasetById: authenticated
      .input(z.object({ id: z.string() }))
      .output(datasetRecord)
      .handler(({ input }) => find(input.id)),

    getDatasetBySolutionSlug: authenticated
      .input(z.object({ solutionId: z.string(), slug: z.string() }))
      .output(datasetRecord)
      .handler(({ input }) => find([...datasets.values()].find((dataset) =>
        dataset.solutionId === input.solutionId && dataset.slug === input.slug)?.id)),

    listDatasets: authenticated
      .input(z.object({ solutionId: z.string() }))
      .output(z.array(datasetRecord))
      .handler(({ input }) => [...datasets.values()].filter(({ solutionId }) => solutionId === input.solutionId)),

    updateDataset: authenticated
      .input(z.object({ ...editable, id: z.string(), slug: z.string().min(1), dataAsOf: z.date().nullable() }))
      .output(datasetRecord)
      .handler(({ input }) => Object.assign(find(input.id), input, { updatedAt: new Date() })),

    deleteDataset: authenticated
      .input(z.object({ id: z.string() }))
      .output(z.void())
      .handler(({ input }) => { datasets.delete(find(input.id).id) }),

    // The platform's keys are unknown; these stand for every type that the framework encodes.
    getDatasetStats: authenticated
      .input(z.object({ id: z.string() }))
      .handler(({ input }) => ({
        rowCount: 9_007_199_254_740_993n,
        columnTypes: new Map([['amount', 'DOUBLE'], ['day', 'DATE']]),
        lastChanges: new Map([[find(input.id).id, new Date('2026-01-31T00:00:00.000Z')]]),
        formats: new Set(['csv', 'parquet']),
        counts: new Set([1n, 2n]),
        mean: NaN,
        maximum: Infinity,
        invalidDate: new Date(NaN),
        samples: ['a', undefined, 'c'],
        pattern: /^[a-z]+$/i,
        center: new Point(10n, 2.5),
        page: new URL('https://example.com/datasets?page=1'),
        unset: undefined,
        nothing: null,
      })),

    getDatasetIngestStatus: authenticated
      .input(z.object({ id: z.string(), ingestId: z.string() }))
      .output(z.object({ status: z.string(), errorMessage: z.string().optional() }))
      .handler(({ input }) => {
        find(input.id)
        return { status: 'failed', errorMessage: 'bad csv' }
      }),
  },

  // Not the platform's: every kind of result, without a condition
  contract: {
    returnDate: authenticated.handler(() => new Date('2026-01-31T00:00:00.000Z')),
    returnNull: authenticated.handler(() => null),
    returnText: authenticated.handler(() => 'Straße'),
    returnUndefined: authenticated.handler(() => undefined),
    returnInput: authenticated.input(z.unknown()).handler(({ input }) => ({ type: typeof input, input })),
    fileSize: authenticated
      .input(z.object({ file: z.instanceof(Blob) }))
      .handler(({ input }) => input.file.size),
    strictInput: authenticated.input(z.strictObject({ id: z.string() })).handler(() => ({})),
    fail: authenticated
      .input(z.object({ code: z.string(), message: z.string().optional(), status: z.number().optional() }))
      .handler(({ input: { code, ...options } }) => { throw new ORPCError(code, options) }),
    unexpected: authenticated.handler(() => { throw new TypeError('secret of the server') }),
    defined: authenticated
      .errors({ CONFLICT: { message: 'Slug already in use', data: z.object({ since: z.date() }) } })
      .handler(({ errors }) => {
        throw errors.CONFLICT({ data: { since: new Date('2026-01-31T00:00:00.000Z') } })
      }),
    createAndBreakOutput: authenticated
      .input(z.object({ slug: z.string() }))
      .output(z.object({ id: z.string() }))
      .handler(({ input }) => {
        create({
          slug: input.slug, organizationId: ORGANIZATION.id, solutionId: SOLUTION_ID, name: 'Created',
          description: null, source: null, documentation: {},
        })
        return { id: 1 }
      }),
  },
}

// HTTP

const handler = new RPCHandler(router, await withPoint())

const server = createServer(async (request, response) => {
  if (request.url === '/reset') {
    reset()
    response.writeHead(204).end()
    return
  }
  const context = { authorization: request.headers.authorization }
  const { matched } = await handler.handle(request, response, { prefix: '/rpc', context })
  if (!matched) response.writeHead(404, { 'content-type': 'text/plain' }).end('Not found')
})

server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }))
})
process.stdin.resume().on('end', () => process.exit())
