package shop;

import java.util.List;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.annotation.Order;
import org.springframework.security.authentication.ProviderManager;
import org.springframework.security.config.annotation.method.configuration.EnableMethodSecurity;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.http.SessionCreationPolicy;
import org.springframework.security.core.GrantedAuthority;
import org.springframework.security.core.authority.AuthorityUtils;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.authentication.preauth.PreAuthenticatedAuthenticationProvider;
import org.springframework.security.web.authentication.preauth.PreAuthenticatedGrantedAuthoritiesWebAuthenticationDetails;
import org.springframework.security.web.authentication.preauth.RequestHeaderAuthenticationFilter;
import org.springframework.web.util.UriUtils;
import static java.nio.charset.StandardCharsets.UTF_8;

/** Who calls is what the sidecar says in headers. There is nothing about tokens here. */
@Configuration
@EnableMethodSecurity
class HeaderSecurity {

    @Bean
    @Order(1)
    SecurityFilterChain identityHeaders(HttpSecurity http) throws Exception {
        var provider = new PreAuthenticatedAuthenticationProvider();
        provider.setPreAuthenticatedUserDetailsService(sent -> {
            var details = (PreAuthenticatedGrantedAuthoritiesWebAuthenticationDetails) sent.getDetails();
            String name = UriUtils.decode(sent.getName(), UTF_8);
            return new User(name, "", details.getGrantedAuthorities());
        });
        var filter = new RequestHeaderAuthenticationFilter();
        filter.setPrincipalRequestHeader("x-auth-subject");
        filter.setExceptionIfHeaderMissing(false); // then the caller is anonymous
        filter.setAuthenticationDetailsSource(request ->
                new PreAuthenticatedGrantedAuthoritiesWebAuthenticationDetails(
                        request, authorities(request.getHeader("x-user-authorities"))));
        filter.setAuthenticationManager(new ProviderManager(provider));
        return http.securityMatcher("/headers/**")
                .addFilter(filter)
                .authorizeHttpRequests(requests -> requests.anyRequest().authenticated())
                .sessionManagement(session -> session.sessionCreationPolicy(SessionCreationPolicy.STATELESS))
                .csrf(csrf -> csrf.disable()) // nothing here comes from a cookie
                .build();
    }

    private static List<GrantedAuthority> authorities(String header) {
        String[] names = header == null ? new String[0] : header.split(",");
        for (int i = 0; i < names.length; i++) {
            names[i] = UriUtils.decode(names[i], UTF_8);
        }
        return AuthorityUtils.createAuthorityList(names);
    }
}
