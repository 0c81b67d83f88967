package shop;

import static org.springframework.security.config.Customizer.withDefaults;

import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.annotation.Order;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.web.SecurityFilterChain;

/** A resource server as it was before there was a sidecar. */
@Configuration
class TokenSecurity {

    @Bean
    @Order(2)
    SecurityFilterChain callersToken(HttpSecurity http) throws Exception {
        return http.securityMatcher("/tokens/**")
                .authorizeHttpRequests(requests -> requests.anyRequest().authenticated())
                .oauth2ResourceServer(server -> server.jwt(withDefaults()))
                .build();
    }
}
