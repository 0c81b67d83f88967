// npm oidc-provider as an authorization server for machines: client credentials, resource
// indicators (RFC 8707), JWT access tokens (RFC 9068).
//
// node server.mjs MODULES KEYS PORT KID:ALG...
//
// Signs with the first key and publishes all. A key lives in the directory KEYS from the first
// start that names it, so starting again with other names is a rotation.

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, directory, port, ...names] = process.argv.slice(2);
const entrance = join(modules, 'oidc-provider', 'lib', 'index.js');
const { default: Provider } = await import(pathToFileURL(entrance));

const MAKE = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

function key(name) {
  const [kid, alg] = name.split(':');
  const file = join(directory, `${kid}.json`);
  if (!existsSync(file)) {
    const jwk = MAKE[alg]().privateKey.export({ format: 'jwk' });
    writeFileSync(file, JSON.stringify({ ...jwk, kid, alg, use: 'sig' }));
  }
  return JSON.parse(readFileSync(file));
}

const keys = names.map(key);
const [{ alg }] = keys;

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys },
  cookies: { keys: ['for tests'] },
  clients: [
    {
      client_id: 'reporter',
      client_secret: 'reporter-secret',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: alg, // it issues none, and still must have a key for them
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        scope: 'profile.read profile.write',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 300,
        jwt: { sign: { alg } },
      }),
    },
  },
});

createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => {
  console.log(`serving on ${port}`);
});
