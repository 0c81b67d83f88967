package shop;

import static org.springframework.security.config.Customizer.withDefaults;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.KeyUse;
import com.nimbusds.jose.jwk.gen.RSAKeyGenerator;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.proc.SecurityContext;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.core.annotation.Order;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.core.userdetails.UserDetailsService;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.JwtEncoder;
import org.springframework.security.oauth2.jwt.NimbusJwtEncoder;
import org.springframework.security.oauth2.server.authorization.authentication.OAuth2TokenExchangeAuthenticationToken;
import org.springframework.security.oauth2.server.authorization.client.InMemoryRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.settings.AuthorizationServerSettings;
import org.springframework.security.oauth2.server.authorization.settings.ClientSettings;
import org.springframework.security.oauth2.server.authorization.token.JwtEncodingContext;
import org.springframework.security.oauth2.server.authorization.token.OAuth2TokenCustomizer;
import org.springframework.security.provisioning.InMemoryUserDetailsManager;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.context.HttpSessionSecurityContextRepository;
import org.springframework.web.bind.annotation.DeleteMapping;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RestController;

/** Issues and exchanges tokens, as Spring Authorization Server does it by itself. */
@SpringBootApplication
@RestController
public class AuthorizationServer {

    /** All are published; the first signs. */
    private final List<JWK> keys = new CopyOnWriteArrayList<>(List.of(newKey()));

    @Value("${shop.client-keys}")
    private String clientKeys;

    public static void main(String[] arguments) {
        SpringApplication.run(AuthorizationServer.class, arguments);
    }

    /** For tests: sign with a new key from now on, and publish the others still. */
    @PostMapping("/test/keys")
    public void addKey() {
        keys.add(0, newKey());
    }

    /** For tests: publish none but the key that signs. */
    @DeleteMapping("/test/keys")
    public void dropOldKeys() {
        keys.subList(1, keys.size()).clear();
    }

    /** For tests: a person who sends name and password has a session from now on. */
    @GetMapping("/test/session")
    public void signIn() {}

    /** For tests: the public keys of the client that signs its assertions. */
    @GetMapping(value = "/test/client-keys", produces = "application/json")
    public String clientKeys() {
        return clientKeys;
    }

    @Bean
    @Order(1)
    SecurityFilterChain protocolEndpoints(HttpSecurity http) throws Exception {
        http.oauth2AuthorizationServer(server -> {
            http.securityMatcher(server.getEndpointsMatcher());
            server.oidc(withDefaults()); // publishes /.well-known/openid-configuration
        });
        http.authorizeHttpRequests(requests -> requests.anyRequest().authenticated());
        return http.build();
    }

    @Bean
    @Order(2)
    SecurityFilterChain testEndpoints(HttpSecurity http) throws Exception {
        http.securityMatcher("/test/**");
        http.csrf(csrf -> csrf.disable());
        http.httpBasic(basic -> basic.securityContextRepository(new HttpSessionSecurityContextRepository()));
        http.authorizeHttpRequests(requests -> requests.anyRequest().permitAll());
        return http.build();
    }

    @Bean
    UserDetailsService people() {
        return new InMemoryUserDetailsManager(
                User.withUsername("alice").password("{noop}alice-password").build());
    }

    @Bean
    RegisteredClientRepository clients(@Value("${server.port}") int port) {
        return new InMemoryRegisteredClientRepository(
                RegisteredClient.withId("reporter")
                        .clientId("reporter")
                        .clientSecret("{noop}reporter-secret")
                        .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
                        .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
                        .scope("profile.read")
                        .scope("profile.write")
                        .build(),
                RegisteredClient.withId("shop-web")
                        .clientId("shop-web")
                        .clientSecret("{noop}shop-web-secret")
                        .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
                        .authorizationGrantType(AuthorizationGrantType.AUTHORIZATION_CODE)
                        .authorizationGrantType(AuthorizationGrantType.REFRESH_TOKEN)
                        .redirectUri("http://127.0.0.1:1/code")
                        .clientSettings(ClientSettings.builder().requireProofKey(false).build())
                        .scope("profile.read")
                        .build(),
                exchanging("user-service")
                        .clientSecret("{noop}user-service-secret")
                        .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
                        .build(),
                exchanging("signing-service")
                        .clientAuthenticationMethod(ClientAuthenticationMethod.PRIVATE_KEY_JWT)
                        .clientSettings(ClientSettings.builder()
                                .jwkSetUrl("http://127.0.0.1:" + port + "/test/client-keys")
                                .tokenEndpointAuthenticationSigningAlgorithm(SignatureAlgorithm.ES256)
                                .build())
                        .build());
    }

    private static RegisteredClient.Builder exchanging(String name) {
        return RegisteredClient.withId(name)
                .clientId(name)
                .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
                .authorizationGrantType(AuthorizationGrantType.TOKEN_EXCHANGE)
                .scope("profile.read");
    }

    /** By itself the server names the client, whatever audience was asked for. */
    @Bean
    OAuth2TokenCustomizer<JwtEncodingContext> audience() {
        return context -> {
            if (context.getAuthorizationGrant() instanceof OAuth2TokenExchangeAuthenticationToken asked
                    && !asked.getAudiences().isEmpty()) {
                context.getClaims().audience(List.copyOf(asked.getAudiences()));
            }
        };
    }

    @Bean
    AuthorizationServerSettings settings() {
        return AuthorizationServerSettings.builder().build();
    }

    @Bean
    JWKSource<SecurityContext> keySource() {
        return (selector, context) -> selector.select(new JWKSet(keys));
    }

    @Bean
    JwtEncoder encoder(JWKSource<SecurityContext> source) {
        NimbusJwtEncoder encoder = new NimbusJwtEncoder(source);
        encoder.setJwkSelector(candidates -> candidates.get(0)); // with several it would refuse
        return encoder;
    }

    private static JWK newKey() {
        try {
            return new RSAKeyGenerator(2048)
                    .keyUse(KeyUse.SIGNATURE)
                    .algorithm(JWSAlgorithm.RS256)
                    .keyID(UUID.randomUUID().toString())
                    .generate();
        } catch (JOSEException error) {
            throw new IllegalStateException(error);
        }
    }
}
